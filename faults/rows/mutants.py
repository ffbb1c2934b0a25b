"""Gateways with one guarantee removed. If the checker does not notice, its verdicts prove nothing."""

import asyncio
import random
from dataclasses import replace
from typing import Any

from redis.asyncio import Redis

from faults.clients.load import Load, LoadShape
from faults.judge.checker import Limits
from faults.row import Figures, Row
from faults.system.cluster import FaultCluster, Shape
from faults.system.mutant_gateway import MODULE, VARIABLE
from gifchat_contracts import keys
from gifchat_contracts.ids import RoomId

REPEAT_S = 1.0
UNCHANGED: dict[str, Any] = {"shape": Shape(), "caught_by": frozenset(), "limits": Limits(), "catch_up_s": 20.0}


def shape(mutant: str) -> Shape:
    return Shape(gateways=2, gateway_module=MODULE, gateway_env={VARIABLE: mutant})


async def channels_cut(cluster: FaultCluster, load: Load, rng: random.Random) -> None:
    """Cut the gateways' channels, so that they miss what is published meanwhile."""
    for gateway in cluster.gateways:
        await gateway.redis.refuse()
        gateway.redis.cut()
    await asyncio.sleep(0.5)
    for gateway in cluster.gateways:
        await gateway.redis.heal()


async def events_repeated(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """Publish every event on a room's channel a second time."""
    repeated = 0
    redis: Any
    async with Redis.from_url(cluster.valkey_url) as redis:
        channel = keys.room_channel(RoomId(load.rooms[0]))
        seen: set[bytes] = set()
        hearing = redis.pubsub()
        async with hearing:
            await hearing.execute_command("SSUBSCRIBE", channel)
            until = asyncio.get_running_loop().time() + REPEAT_S
            while asyncio.get_running_loop().time() < until:
                message = await hearing.get_message(ignore_subscribe_messages=True, timeout=0.1)
                if message is None or message["type"] != "smessage" or message["data"] in seen:
                    continue
                seen.add(message["data"])
                await redis.execute_command("SPUBLISH", channel, message["data"])
                repeated += 1
    assert repeated, "nothing was published on the channel"
    return {"events repeated": repeated}


async def gateway_killed_with_clients(cluster: FaultCluster, load: Load, rng: random.Random) -> None:
    """Kill a gateway and one of its clients at the same time."""
    gateway = next(gateway for gateway in cluster.gateways if load.readers_on(gateway))
    victim = load.readers_on(gateway)[0]
    await gateway.process.kill()
    await victim.vanish()


async def refreshed_before_a_full_room(cluster: FaultCluster, load: Load, rng: random.Random) -> None:
    """Refresh a member's page in a full room while another user waits for a seat."""
    reader = load.readers[0]
    waiting = [load.add_reader(reader.room) for _ in range(2)]
    try:
        for _ in range(3):
            await load.all_joined(readers=[reader])
            reader.refresh()
            await asyncio.sleep(0.5)
            if any(one.joined.is_set() for one in waiting):
                break
    finally:
        for one in waiting:
            await one.vanish()


async def crowd(cluster: FaultCluster, load: Load, rng: random.Random) -> None:
    """Let more users than seats join at once."""
    extra = [load.add_reader(load.rooms[0]) for _ in range(6)]
    await asyncio.sleep(1.0)
    for reader in extra:
        await reader.leave()


MUTANTS = [
    Row(
        name="mutant: repair off",
        fault="gaps are never filled (channels are cut)",
        inject=channels_cut,
        shape=shape("repair_off"),
        catch_up_s=4.0,
        caught_by=frozenset({"lost"}),
    ),
    Row(
        name="mutant: dedupe off",
        fault="duplicates are delivered (events are published twice)",
        inject=events_repeated,
        shape=shape("dedupe_off"),
        caught_by=frozenset({"duplicated"}),
    ),
    Row(
        name="mutant: sweep off",
        fault="expired seats are not swept (a gateway dies with a client)",
        inject=gateway_killed_with_clients,
        shape=shape("sweep_off"),
        caught_by=frozenset({"ghosts"}),
    ),
    Row(
        name="mutant: grace off",
        fault="seats have no grace (a member of a full room refreshes)",
        inject=refreshed_before_a_full_room,
        shape=shape("grace_off"),
        load=LoadShape(max_members=3),
        limits=Limits(ghosts_s=30.0),
        caught_by=frozenset({"seats_lost"}),
    ),
    Row(
        name="mutant: max off",
        fault="rooms are never full (more users than seats join)",
        inject=crowd,
        shape=shape("max_off"),
        load=LoadShape(max_members=4),
        caught_by=frozenset({"over_admitted"}),
    ),
]

# The controls: the same faults with the real gateway must pass.
CONTROLS = [
    replace(row, name=row.name.replace("mutant", "control").replace(" off", " on"), fault=fault, **UNCHANGED)
    for row, fault in zip(
        MUTANTS,
        (
            "all gateways lose Redis for half a second",
            "every event on a room's channel is published twice",
            "a gateway and one of its clients die at the same time",
            "a member of a full room refreshes while others wait for a seat",
            "more users than seats join at once",
        ),
        strict=True,
    )
]
ROWS = [*CONTROLS, *MUTANTS]
