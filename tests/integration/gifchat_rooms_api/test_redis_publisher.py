"""The publisher on a real Valkey, with a reader that subscribes like a gateway."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from gifchat_chassis.background_tasks import cancel_until_done
from gifchat_cli.ports import free_port
from gifchat_cli.prerequisites import find_valkey_server
from gifchat_cli.servers.valkey import Valkey
from gifchat_contracts import keys
from gifchat_contracts.codec import Frame, Kind, decode
from gifchat_contracts.ids import Epoch, RoomId
from gifchat_rooms_api.adapters.redis_publisher import RedisPublisher
from gifchat_testkit.servers import running

pytestmark = pytest.mark.servers

CHANNEL = keys.room_channel(RoomId("65f0c0ffee0123456789abcd"))
EPOCH = Epoch("0123456789abcdef")
DEADLINE_S = 10.0


def frame(seq: int) -> Frame:
    return Frame(Kind.CHAT, b'["chat",{"chat":"%d"}]' % seq, EPOCH, seq)


def dropped() -> float:
    return REGISTRY.get_sample_value("rooms_api_publish_dropped_total") or 0.0


def client(url: str) -> Redis:
    return Redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0)


@asynccontextmanager
async def reader(url: str, *channels: str) -> AsyncIterator[asyncio.Queue[tuple[str, Frame]]]:
    received: asyncio.Queue[tuple[str, Frame]] = asyncio.Queue()
    async with Redis.from_url(url) as redis, redis.pubsub() as pubsub:
        await pubsub.ssubscribe(*channels)
        for _ in channels:
            assert (await pubsub.get_message(timeout=DEADLINE_S))["type"] == "ssubscribe"

        async def read() -> None:
            async for message in pubsub.listen():
                if message["type"] == "smessage":
                    received.put_nowait((message["channel"].decode(), decode(message["data"])))

        task = asyncio.create_task(read())
        try:
            yield received
        finally:
            await cancel_until_done(task)


async def take(received: asyncio.Queue[tuple[str, Frame]], count: int) -> list[tuple[str, Frame]]:
    async with asyncio.timeout(DEADLINE_S):
        return [await received.get() for _ in range(count)]


async def test_frames_arrive_complete_and_in_order(valkey: str) -> None:
    async with client(valkey) as redis, reader(valkey, CHANNEL, keys.LOBBY_CHANNEL) as received:
        publisher = RedisPublisher(redis)
        for seq in range(1, 2_001):
            publisher.publish(CHANNEL, frame(seq))
        publisher.publish(keys.LOBBY_CHANNEL, Frame(Kind.NEW_ROOM, b'["newRoom",{}]'))
        got = await take(received, 2_001)
        await publisher.aclose()
    assert got[:-1] == [(CHANNEL, frame(seq)) for seq in range(1, 2_001)]
    assert got[-1] == (keys.LOBBY_CHANNEL, Frame(Kind.NEW_ROOM, b'["newRoom",{}]'))


async def test_the_newest_frames_are_queued_while_redis_is_down(tmp_path: Path) -> None:
    server = Valkey(find_valkey_server(), free_port(), tmp_path)
    lost_before = dropped()
    async with client(server.url) as redis:
        publisher = RedisPublisher(redis, max_queued=10)
        for seq in range(1, 26):
            publisher.publish(CHANNEL, frame(seq))
        with running("valkey", server.command(), tmp_path, server.wait_until_ready):
            async with reader(server.url, CHANNEL) as received:
                publisher.publish(CHANNEL, frame(26))
                got = await take(received, 1)
                while got[-1][1].seq != 26:
                    got += await take(received, 1)
            await publisher.aclose()
    seqs = [one.seq for _, one in got]
    assert seqs == list(range(seqs[0], 27))
    assert dropped() - lost_before >= 15


async def test_closing_without_redis_is_bounded_and_counts_dropped_frames() -> None:
    lost_before = dropped()
    async with client("redis://127.0.0.1:9") as redis:
        publisher = RedisPublisher(redis)
        for seq in range(1, 4):
            publisher.publish(CHANNEL, frame(seq))
        async with asyncio.timeout(DEADLINE_S):
            await publisher.aclose(timeout_s=0.2)
    assert dropped() - lost_before == 3


class _Lossy(RedisPublisher):
    """Loses the first cancellation, as `asyncio.wait_for` can on Python 3.11."""

    async def _send(self, batch: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if self._lost_one:
                raise
            self._lost_one = True
        return batch

    _lost_one = False


async def test_closing_ends_even_if_a_cancellation_is_lost(valkey: str) -> None:
    async with client(valkey) as redis:
        publisher = _Lossy(redis)
        publisher.publish(CHANNEL, frame(1))
        async with asyncio.timeout(DEADLINE_S):
            await publisher.aclose(timeout_s=0.0)
