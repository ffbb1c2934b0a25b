"""Redis restarts empty, fails over, is unreachable, or is out of memory."""

import asyncio
import random
from typing import Any

from redis.asyncio import Redis

from faults.clients.checks import codes, deaf_after_s, readers_still_receive, refused_with, writers_can_post
from faults.clients.load import Load, LoadShape
from faults.clients.reader import Reader
from faults.judge.checker import Limits
from faults.judge.records import now
from faults.row import Figures, Row
from faults.system.cluster import FaultCluster, Shape
from gifchat_contracts import limits
from gifchat_testkit.proxy import BOTH, Direction
from gifchat_testkit.waiting import until

HEALS_WITHIN_S = 2.0
DEAF_WITHIN_S = 5.0
WORKS_WITHIN_S = 5.0
REFUSED_WITHIN_S = limits.RECOVERING_S - 1.0
FILLED_WITHIN_S = limits.RECOVERING_S + 10.0
JUNK_BYTES = 8 * 2**20
"""The value that fills Redis."""

ALMOST_FULL = LoadShape(max_members=4)
"""Three readers per room leave one seat free."""


def crowd(load: Load, each: int) -> list[Reader]:
    """Add newcomers to each room."""
    return [load.add_reader(room) for room in load.rooms for _ in range(each)]


async def filled(load: Load, newcomers: list[Reader]) -> None:
    """Wait until each room is full, and the remaining newcomers are refused."""

    def is_filled(room: str) -> bool:
        readers = [reader for reader in load.staying() if reader.room == room]
        waiting = [reader for reader in newcomers if reader.room == room and not reader.joined.is_set()]
        seated = sum(reader.joined.is_set() for reader in readers)
        return seated >= load.shape.max_members and all(codes(load, reader)[-1:] == ["room_full"] for reader in waiting)

    await until(lambda: all(map(is_filled, load.rooms)), FILLED_WITHIN_S, "full rooms", poll_interval_s=0.1)


async def history_is_readable(reader: Reader) -> None:
    """Check that a member can read history over HTTP."""
    async with asyncio.timeout(WORKS_WITHIN_S):
        assert await reader.person.history(reader.room, 0, reader.membership), "no history"


async def restarted_empty(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """More newcomers than seats arrive while Redis is down."""
    await cluster.valkey.kill()
    newcomers = crowd(load, 3)
    await asyncio.sleep(rng.uniform(0.0, 1.5))
    await cluster.valkey.start()
    await cluster.valkey.wait_until_ready()
    load.fault_over()
    back_at = now()
    await refused_with(load, newcomers, "recovering", REFUSED_WITHIN_S)
    await filled(load, newcomers)
    return {"newcomers waited, s": now() - back_at}


async def down_for_long(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """Every lease has expired when Redis comes back empty, so no gateway can know whom the others admitted."""
    members = list(load.readers)
    await cluster.valkey.kill()
    newcomers = crowd(load, 3)
    await writers_can_post(load, WORKS_WITHIN_S)
    await asyncio.sleep(limits.LEASE_TTL_S + rng.uniform(0.5, 3.0))
    await cluster.valkey.start()
    await cluster.valkey.wait_until_ready()
    load.fault_over()
    await filled(load, newcomers)
    assert all(reader.joined.is_set() for reader in members), "a member lost the seat to a newcomer"
    return {}


async def failed_over(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """The last seats are taken and a member leaves; then a replica without these changes takes over."""
    writing = {writer.person for writer in load.writers}
    leaving = rng.choice([reader for reader in load.readers if reader.person not in writing])
    await asyncio.to_thread(cluster.valkeys.follow)
    cluster.valkeys.link.stall()
    last = crowd(load, 1)
    await load.all_joined(10.0, last)
    await leaving.leave()
    if rng.random() < 0.5:
        await cluster.valkey.kill()
    await asyncio.sleep(rng.uniform(0.0, 1.0))
    await cluster.fail_over()
    load.fault_over()
    newcomers = crowd(load, 3)
    await refused_with(load, newcomers, "recovering", REFUSED_WITHIN_S)
    await filled(load, newcomers)
    return {"seats missing on the replica": len(last)}


async def cut_off(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """All connections to Redis stay open, but carry no data in one direction or in both."""
    lasts_s = 6.0 if load.short else 30.0
    directions: tuple[Direction, ...] = rng.choice([BOTH, ("up",), ("down",)])
    members = list(load.readers)
    began = now()
    for node in cluster.nodes:
        node.redis.stall(*directions)
    deaf_s = await asyncio.gather(*(deaf_after_s(gateway, DEAF_WITHIN_S) for gateway in cluster.gateways))
    newcomers = crowd(load, 3)
    await writers_can_post(load, WORKS_WITHIN_S)
    await history_is_readable(load.readers[0])
    await asyncio.sleep(max(0.0, began + lasts_s - now()))
    assert not any(reader.joined.is_set() for reader in newcomers), "a newcomer was admitted without Redis"
    for node in cluster.nodes:
        await node.redis.heal()
    load.fault_over()
    await filled(load, newcomers)
    assert all(reader.joined.is_set() for reader in members), "a member lost the seat to a newcomer"
    return {"deafness noticed, s": max(deaf_s)}


async def full(cluster: FaultCluster, load: Load, rng: random.Random) -> None:
    """Newcomers are refused; members can still receive, post, read history and leave."""
    redis: Any
    async with Redis.from_url(cluster.valkey_url, socket_timeout=5.0) as redis:
        junk = [f"junk:{number}" for number in range(8)]
        try:
            for key in junk:
                await redis.set(key, bytes(JUNK_BYTES // len(junk)))
            used = int((await redis.info("memory"))["used_memory"])
            await redis.config_set("maxmemory", used - JUNK_BYTES // 4)
            await full_for_a_while(load, rng)
        finally:
            await redis.delete(*junk)
    load.fault_over()
    await load.all_joined(10.0)
    async with Redis.from_url(cluster.valkey_url, socket_timeout=5.0) as redis:
        await redis.config_set("maxmemory", 0)


async def full_for_a_while(load: Load, rng: random.Random) -> None:
    """No join works, not even a member's second tab; everything else does."""
    writing = {writer.person for writer in load.writers}
    leaving = rng.choice([reader for reader in load.readers if reader.person not in writing])
    staying = [reader for reader in load.readers if reader is not leaving]
    tab_of = rng.choice(staying)
    second_tab = load.add_reader(tab_of.room, person=load.same_person(tab_of.person))
    await refused_with(load, [second_tab, *crowd(load, 1)], "admission_unavailable", WORKS_WITHIN_S)
    await leaving.leave()
    await writers_can_post(load, WORKS_WITHIN_S)
    await readers_still_receive(load, staying, WORKS_WITHIN_S)
    await history_is_readable(staying[0])
    await asyncio.sleep(rng.uniform(0.0, 1.0 if load.short else 3.0))


ROWS: list[Row] = [
    Row(
        name="redis restarted empty",
        fault="Redis is killed and comes back empty while more newcomers than seats arrive",
        inject=restarted_empty,
        load=ALMOST_FULL,
        limits=Limits(heal_s=HEALS_WITHIN_S),
    ),
    Row(
        name="redis down for long, then empty",
        fault="Redis is down for longer than a lease and comes back empty; newcomers wait, and members receive "
        "nothing until the recovery is over (ADR 4)",
        inject=down_for_long,
        load=ALMOST_FULL,
        limits=Limits(heal_s=limits.RECOVERING_S + HEALS_WITHIN_S),
    ),
    Row(
        name="redis failed over",
        fault="a replica without the latest seats takes over",
        inject=failed_over,
        shape=Shape(valkeys=2),
        load=ALMOST_FULL,
        limits=Limits(heal_s=HEALS_WITHIN_S),
    ),
    Row(
        name="redis cut off",
        fault="all gateways and rooms-api cannot send to Redis, receive from it, or both, for 30 s",
        inject=cut_off,
        load=ALMOST_FULL,
        limits=Limits(heal_s=HEALS_WITHIN_S),
    ),
    Row(
        name="redis out of memory",
        fault="Redis is out of memory and refuses writes while a member leaves",
        inject=full,
        limits=Limits(heal_s=HEALS_WITHIN_S),
    ),
]
