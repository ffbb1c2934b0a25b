"""Frames on the channels arrive twice, out of order, undecodable or never."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import httpx
from redis.asyncio import Redis

from faults.clients.checks import readers_still_receive
from faults.clients.load import Load
from faults.clients.measuring import total
from faults.judge.records import now
from faults.row import Figures, Row
from faults.system.cluster import FaultCluster, Shape
from faults.system.failing_rooms_api import MODULE, stop_publishing
from gifchat_cli.ports import LOOPBACK
from gifchat_contracts import keys
from gifchat_contracts.codec import Frame, Kind, encode
from gifchat_contracts.events import body
from gifchat_contracts.ids import Epoch, RoomId, UserId

WORKS_WITHIN_S = 5.0
LASTS_S = 3.0
LOST_SHARE, TWICE_SHARE = 0.1, 0.3
PUBLISH_INTERVAL_S = 0.1
SILENCEABLE = Shape(gateways=2, rooms_api=2, rooms_api_module=MODULE)


async def disordered(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """rooms-api stores without publishing; the row publishes instead: shuffled, some frames twice, some never."""
    before = await counters(cluster)
    counts = {"frames": 0, "published twice": 0, "never published": 0}
    for node in cluster.rooms_api:
        await stop_publishing(node, load.rooms)
    redis: Any
    async with Redis.from_url(cluster.valkey_url) as redis, log_reader(cluster) as http:
        seqs = {room: await head(http, room) for room in load.rooms}
        until = now() + (LASTS_S / 2 if load.short else LASTS_S)
        # Continue until at least one frame was published twice and at least one was left out.
        while now() < until or not all(counts.values()):
            assert now() < until + WORKS_WITHIN_S, f"no frame was out of order: {counts}"
            await asyncio.sleep(PUBLISH_INTERVAL_S)
            for room in load.rooms:
                frames = await read_after(http, room, seqs[room])
                seqs[room] += len(frames)
                wanted = [frame for frame in frames if rng.random() >= LOST_SHARE]
                counts["never published"] += len(frames) - len(wanted)
                twice = [frame for frame in wanted if rng.random() < TWICE_SHARE]
                counts["published twice"] += len(twice)
                counts["frames"] += len(wanted)
                await publish(redis, keys.room_channel(RoomId(room)), shuffled(rng, [*wanted, *twice]))
    for node in cluster.rooms_api:
        await stop_publishing(node, [])
    load.fault_over()
    await readers_still_receive(load, load.staying(), WORKS_WITHIN_S)
    changed = await growth_since(cluster, before)
    assert changed["gateway_duplicates_total"], "no gateway noticed a duplicate"
    assert changed["gateway_repairs_total"], "no gateway noticed a gap"
    assert not changed["gateway_resubscriptions_total"], "a gateway stopped listening"
    return {**counts, "range reads": changed["gateway_repairs_total"]}


async def malformed(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """Publish bad frames among the real ones."""
    before = await counters(cluster)
    published = 0
    redis: Any
    async with Redis.from_url(cluster.valkey_url) as redis:
        rooms = [keys.room_channel(RoomId(room)) for room in load.rooms]
        # A real message after the last bad frame shows that the gateways still listen.
        until = now() + (LASTS_S / 2 if load.short else LASTS_S)
        while now() < until:
            for channel in rooms:
                published += await publish_raw(redis, channel, shuffled(rng, unreadable(rng)))
            published += await publish_raw(
                redis, keys.LOBBY_CHANNEL, shuffled(rng, [*unreadable(rng), *unreadable_lobby()])
            )
            for room in load.rooms:
                await publish(redis, keys.room_channel(RoomId(room)), shuffled(rng, misleading(rng)))
            await asyncio.sleep(PUBLISH_INTERVAL_S)
    load.fault_over()
    await readers_still_receive(load, load.staying(), WORKS_WITHIN_S)
    changed = await growth_since(cluster, before)
    assert changed["gateway_bad_frames_total"] >= published / 2, f"{published} bad frames, noticed: {changed}"
    assert not changed["gateway_resubscriptions_total"], "a gateway stopped listening"
    return {"undecodable frames": published, "range reads": changed["gateway_repairs_total"]}


def unreadable(rng: random.Random) -> list[bytes]:
    """Undecodable frames for a room's channel, and frames that do not belong there."""
    whole = encode(Frame(Kind.CHAT, body("chat", {}), Epoch("ab" * 8), 7, UserId("cd" * 12)))
    return [
        b"",
        rng.randbytes(rng.randint(1, 17)),
        bytes((0,)) + whole[1:],
        bytes((99,)) + whole[1:],
        whole[:1] + bytes((200,)) + whole[2:],
        whole[: rng.randint(1, 18)],
        whole[:2] + bytes(8) + whole[10:],
        whole[:10] + bytes(8) + whole[18:],
        whole[:18] + bytes((255,)) + whole[19:24],
        whole[:19] + b"\xff" * 24 + whole[43:],
        encode(Frame(Kind.CANARY, b"")),
        encode(Frame(Kind.PRESENCE, b"[")),
        encode(Frame(Kind.PRESENCE, body("presence", {"members": "many"}))),
        encode(Frame(Kind.SANCTION, b"\xff\xfe", subject=UserId("cd" * 12))),
        encode(Frame(Kind.SANCTION, body("sanction", []), subject=UserId("cd" * 12))),
        encode(Frame(Kind.SANCTION, b"[" * 5_000, subject=UserId("cd" * 12))),
    ]


def unreadable_lobby() -> list[bytes]:
    """Undecodable frames for the lobby's channel."""
    return [
        encode(Frame(Kind.OCCUPANCY, b"{")),
        encode(Frame(Kind.OCCUPANCY, body("occupancy", {"a room": "many"}))),
        encode(Frame(Kind.ROOM_REMOVED, b"null")),
    ]


def misleading(rng: random.Random) -> list[Frame]:
    """Valid frames whose epoch is not the room's."""
    other = Epoch(rng.randbytes(8).hex())
    return [
        Frame(Kind.CHAT, body("chat", {}), other, rng.randint(1, 10_000)),
        Frame(Kind.HEAD, b"", other, rng.randint(1, 10_000)),
    ]


def shuffled(rng: random.Random, things: Sequence[Any]) -> list[Any]:
    """Return a shuffled copy."""
    return rng.sample(things, len(things))


async def publish(redis: Any, channel: str, frames: Sequence[Frame]) -> None:
    """Publish frames directly to Redis, without rooms-api."""
    await publish_raw(redis, channel, [encode(frame) for frame in frames])


async def publish_raw(redis: Any, channel: str, data: Sequence[bytes]) -> int:
    """Publish all frames in one pipeline; return their number."""
    pipeline = redis.pipeline(transaction=False)
    for each in data:
        pipeline.execute_command("SPUBLISH", channel, each)
    await pipeline.execute()
    return len(data)


def log_reader(cluster: FaultCluster) -> httpx.AsyncClient:
    """An HTTP client that reads rooms' logs as gateways do."""
    return httpx.AsyncClient(
        base_url=f"http://{LOOPBACK}:{cluster.rooms_api[0].port}",
        headers={"Authorization": f"Bearer {cluster.internal_token}"},
        trust_env=False,
        timeout=5.0,
    )


async def head(http: httpx.AsyncClient, room: str) -> int:
    """Return the room's last seq."""
    answer = await http.get(f"/internal/v1/rooms/{room}/log", params={"newest": 1})
    answer.raise_for_status()
    return int(answer.json()["head"])


async def read_after(http: httpx.AsyncClient, room: str, seq: int) -> list[Frame]:
    """Return the room's log as the frames that rooms-api would publish."""
    answer = await http.get(f"/internal/v1/rooms/{room}/log", params={"after": seq})
    answer.raise_for_status()
    page = answer.json()
    return [
        Frame(Kind(item["kind"]), body(item["event"], item["data"]), Epoch(page["epoch"]), item["seq"])
        for item in page["items"]
    ]


async def counters(cluster: FaultCluster) -> dict[str, float]:
    """Return the gateways' counters of duplicates, repairs, bad frames and resubscriptions."""
    names = ("duplicates", "repairs", "bad_frames", "resubscriptions")
    return {f"gateway_{name}_total": await total(cluster.gateways, f"gateway_{name}_total") for name in names}


async def growth_since(cluster: FaultCluster, before: dict[str, float]) -> dict[str, float]:
    """Return how much the counters have grown."""
    return {name: value - before[name] for name, value in (await counters(cluster)).items()}


ROWS = [
    Row(
        name="channel disordered",
        fault="events on the rooms' channels arrive out of order; some arrive twice, some never",
        inject=disordered,
        shape=SILENCEABLE,
    ),
    Row(
        name="channel malformed",
        fault="undecodable bytes, and events for unknown rooms, arrive between the events",
        inject=malformed,
        shape=SILENCEABLE,
    ),
]
