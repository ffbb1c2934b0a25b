"""Gateways that exit, pause, move their sockets away, or lose a crowd of clients."""

import asyncio
import random
from dataclasses import replace
from math import ceil

import httpx

from faults.clients.checks import reconnected_elsewhere
from faults.clients.load import Load, LoadShape
from faults.clients.measuring import log_reads, total
from faults.clients.reader import Reader
from faults.clients.sockets import Transport
from faults.judge.checker import Limits
from faults.judge.records import now
from faults.row import Figures, Row
from faults.system.cluster import FaultCluster, Node, Shape
from gifchat_cli.ports import LOOPBACK
from gifchat_contracts import limits
from gifchat_testkit import affinity
from gifchat_testkit.processes import Resources
from gifchat_testkit.waiting import until

EXIT_WITHIN_S = 20.0
NOTICED_WITHIN_S = limits.LEASE_TTL_S + 1.5
SETTLED_WITHIN_S = 5.0
BACK_WITHIN_S = 15.0
GONE_WITHIN_S = 5.0
"""A silent polling client is gone after a ping and its timeout."""
SHED_SHARE = 0.3
ONLY_THERE = 10
CROWDS, EACH, MORE_BYTES, MORE_FILES = 3, 8, 4 * 2**20, 8
IDLE_WITHIN_S = 6.0
"""The gateway keeps connections to rooms-api for four seconds."""
TRANSPORTS: tuple[Transport, ...] = ("websocket", "polling", "upgrade")
JOINS_AT_ONCE = 15
"""The maximum number of simultaneous joins at one gateway in these rows."""
PING_INTERVAL_S, PING_TIMEOUT_S, GRACE_S = 1.0, 2.0, 2.0
FAST_PINGS = {
    "PING_INTERVAL": f"{PING_INTERVAL_S:g}",
    "PING_TIMEOUT": f"{PING_TIMEOUT_S:g}",
    "SEAT_GRACE": f"{GRACE_S:g}",
}
CROWD = LoadShape(readers=30, writers=3, per_s=15.0, max_members=60)
FULL = LoadShape(readers=8, max_members=4)


async def killed(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """SIGKILL; one of the gateway's readers never returns, so its seat becomes a ghost."""
    # A user who writes would still be present, so the ghost must be one who only reads.
    writing = {writer.person for writer in load.writers}
    ghost = rng.choice([reader for reader in load.readers if reader.person not in writing])
    victim = next(gateway for gateway in cluster.gateways if gateway.name == ghost.gateway)
    lost = load.readers_on(victim)
    await victim.process.kill()
    await ghost.vanish()
    return {"clients on the gateway": len(lost)}


async def terminated(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """SIGTERM: the gateway moves its sockets away and exits with 0."""
    victim = rng.choice([gateway for gateway in cluster.gateways if load.readers_on(gateway)])
    lost = load.readers_on(victim)
    code = await victim.process.terminate(EXIT_WITHIN_S)
    assert code == 0, f"{victim.name} exited with {code}"
    return {"clients on the gateway": len(lost)}


async def stopped(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """SIGSTOP in full rooms until newcomers have some of the seats, then SIGCONT. Users without a seat must be told."""
    victim = max(cluster.gateways, key=lambda gateway: len(load.readers_on(gateway)))
    frozen = {room: [reader for reader in load.readers_on(victim) if reader.room == room] for room in load.rooms}
    taken = {room: rng.randint(1, len(readers)) for room, readers in frozen.items() if readers}
    victim.process.pause()
    stopped_at = now()

    def seats_are_free() -> bool:
        return all(
            watcher.members is not None and watcher.members <= load.shape.max_members - taken[watcher.room]
            for watcher in load.watchers
            if watcher.room in taken
        )

    await until(seats_are_free, NOTICED_WITHIN_S, "the seats of the stopped gateway to be free")
    free_s = now() - stopped_at
    newcomers = [
        add_reader_on(load, rng.choice([gateway for gateway in cluster.gateways if gateway is not victim]), room)
        for room, count in taken.items()
        for _ in range(count)
    ]
    await load.all_joined(SETTLED_WITHIN_S, newcomers)
    victim.process.resume()
    continued_at = now()

    def outside() -> dict[str, int]:
        return {room: sum(not reader.joined.is_set() for reader in frozen[room]) for room in taken}

    await until(lambda: outside() == taken, SETTLED_WITHIN_S, f"{taken} readers to be told that they lost their seats")
    told_s = now() - continued_at
    load.fault_over()
    await asyncio.sleep(rng.uniform(0.2, 1.0))
    assert outside() == taken, f"{outside()} readers are outside, but {taken} seats were taken"
    # These readers would join as soon as a seat is free, and miss the messages until then.
    await asyncio.gather(*(reader.leave() for room in taken for reader in frozen[room] if not reader.joined.is_set()))
    return {"seats free, s": free_s, "refused members notified, s": told_s}


async def storm(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """SIGKILL; all of the gateway's clients rejoin on the others at once, with their positions.

    Only this gateway hosted one of the rooms, so the others must open it.
    """
    victim = max(cluster.gateways, key=lambda gateway: len(load.readers_on(gateway)))
    room = await load.add_room()
    there = [add_reader_on(load, victim, room) for _ in range(ONLY_THERE)]
    await load.all_joined(readers=there)
    load.add_writer(there[0], 10.0)
    await until(lambda: load.writers[-1].acknowledged, SETTLED_WITHIN_S, "a message in the new room")
    lost = load.readers_on(victim)
    reads_before = await log_reads(cluster)
    # A gateway reads the log of each room that it opens.
    assert reads_before, "the log reads were not counted"
    await victim.process.kill()
    load.fault_over()
    await reconnected_elsewhere(lost, victim, BACK_WITHIN_S)
    reads = await log_reads(cluster) - reads_before
    room_and_gateway = len(load.rooms) * (len(cluster.gateways) - 1)
    # One read to fill the ring and one to repair, for any number of clients.
    assert reads <= 2 * room_and_gateway, f"{reads:g} reads for {room_and_gateway} rooms and gateways"
    return {"clients on the gateway": len(lost), "log reads per room and gateway": reads / room_and_gateway}


async def rolled(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """Restart one gateway after the other with SIGTERM, like a deployment."""
    took_s = []
    for gateway in rng.sample(cluster.gateways, len(cluster.gateways)):
        began = now()
        code = await gateway.process.terminate(EXIT_WITHIN_S)
        took_s.append(now() - began)
        assert code == 0, f"{gateway.name} exited with {code}"
        await gateway.process.start()
        await gateway.process.wait_until_ready()
    load.fault_over()
    await load.all_joined(BACK_WITHIN_S)
    return {"slowest exit, s": max(took_s)}


async def shed(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """An operator makes a gateway shed 30 % of its sockets."""
    victim = max(cluster.gateways, key=lambda gateway: len(load.readers_on(gateway)))
    here = load.readers_on(victim)
    before = {reader: reader.connection for reader in here}
    assert await total([victim], "gateway_sockets") == len(here)
    async with httpx.AsyncClient(trust_env=False, timeout=5.0) as http:
        answer = await http.post(
            f"http://{LOOPBACK}:{victim.port}/internal/v1/shed",
            json={"share": SHED_SHARE},
            headers={"Authorization": f"Bearer {cluster.internal_token}"},
        )
        answer.raise_for_status()

    def moved() -> list[Reader]:
        return [reader for reader in here if reader.connection is not before[reader]]

    wanted = ceil(len(here) * SHED_SHARE)
    await until(lambda: len(moved()) == wanted, SETTLED_WITHIN_S, f"{wanted} of {len(here)} to be moved")
    await reconnected_elsewhere(moved(), victim, BACK_WITHIN_S)
    assert len(moved()) == wanted, f"{len(moved())} of {len(here)} were moved"
    assert len(load.readers_on(victim)) == len(here) - wanted
    return {"clients on the gateway": len(here), "clients moved": wanted}


async def crowds_gone(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """Crowds connect and disconnect, half of them without a handshake. After the first, memory may hardly grow."""
    first: dict[str, Resources] = {}
    grown_bytes = grown_files = 0
    for _ in range(2 if load.short else CROWDS):
        room = await load.add_room()
        crowd = [load.add_reader(room, transport=transport) for transport in TRANSPORTS * EACH]
        await load.all_joined(readers=crowd)
        await asyncio.gather(*(reader.leave() if rng.random() < 0.5 else reader.vanish() for reader in crowd))
        for gateway in cluster.gateways:
            await wait_for_leavers(load, gateway)
            before = first.setdefault(gateway.name, used_by(gateway))
            idle_at = now() + IDLE_WITHIN_S
            while (used := used_by(gateway)).files - before.files > MORE_FILES and now() < idle_at:
                await asyncio.sleep(0.2)
            grown_bytes = max(grown_bytes, used.rss_bytes - before.rss_bytes)
            grown_files = max(grown_files, used.files - before.files)
    assert grown_bytes <= MORE_BYTES, f"a gateway grew by {grown_bytes} bytes"
    assert grown_files <= MORE_FILES, f"a gateway has {grown_files} more open files"
    return {"memory growth, MiB": max(0, grown_bytes) / 2**20, "growth in open files": max(0, grown_files)}


async def wait_for_leavers(load: Load, gateway: Node) -> None:
    """Wait until the gateway has only the connections of staying readers."""
    gone_at = now() + GONE_WITHIN_S
    while (left := await total([gateway], "gateway_sockets")) != (staying := len(load.readers_on(gateway))):
        assert now() < gone_at, f"{gateway.name} has {left:g} sockets of {staying} clients"
        await asyncio.sleep(0.1)


def used_by(gateway: Node) -> Resources:
    """Return the resources without the connections to Redis: the pool keeps them, up to 72."""
    used = gateway.process.resources()
    assert used is not None, f"{gateway.name} does not run"
    return Resources(used.rss_bytes, used.files - gateway.redis.connections)


def add_reader_on(load: Load, gateway: Node, room: str) -> Reader:
    """Add a reader that nginx routes to this gateway."""
    person = load.person(f"newcomer-{len(load.readers)}")
    person.cookies[affinity.COOKIE] = gateway.tag
    return load.add_reader(room, person=person)


ROWS = [
    Row(
        name="gateway killed",
        fault="SIGKILL to one of three gateways; one of its clients never returns",
        inject=killed,
        shape=Shape(gateways=3),
        limits=Limits(resume_p99_s=5.0),
    ),
    Row(
        name="gateway terminated",
        fault="SIGTERM to one of three gateways",
        inject=terminated,
        shape=Shape(gateways=3),
        limits=Limits(resume_p99_s=5.0),
    ),
    Row(
        name="gateway stopped",
        fault="SIGSTOP to one of three gateways in full rooms; SIGCONT after newcomers have taken some of its seats",
        inject=stopped,
        shape=Shape(gateways=3),
        load=FULL,
        # In this row, members lose seats on purpose.
        limits=Limits(seats_kept_s=None),
        settle_s=1.5,
    ),
    Row(
        name="storm",
        fault="SIGKILL to one of three gateways and to all of its clients",
        inject=storm,
        shape=Shape(gateways=3),
        load=CROWD,
        # Each of the simultaneous joins needs a connection to Redis, and the pool keeps them.
        limits=Limits(resume_p99_s=5.0, files_growth=2 * JOINS_AT_ONCE),
    ),
    Row(
        name="rolling restart",
        fault="each of three gateways gets SIGTERM and is started again, one after the other",
        inject=rolled,
        shape=Shape(gateways=3),
        # Each gateway has more clients than may reconnect in a second.
        load=replace(CROWD, readers=45),
        limits=Limits(resume_p99_s=5.0, reconnects_per_s=16),
        settle_s=1.5,
    ),
    Row(
        name="gateway shed",
        fault="a gateway sheds 30 % of its clients",
        inject=shed,
        shape=Shape(gateways=3),
        load=replace(CROWD, transports=("websocket", "websocket", "upgrade")),
        limits=Limits(resume_p99_s=5.0),
    ),
    Row(
        name="crowd gone",
        fault="crowds connect and disconnect, half of each without closing the connection",
        inject=crowds_gone,
        shape=Shape(gateways=2, gateway_env=FAST_PINGS),
        load=LoadShape(max_members=60),
        limits=Limits(
            ghosts_s=PING_INTERVAL_S + PING_TIMEOUT_S + GRACE_S + 2.0,
            seats_kept_s=GRACE_S - 0.5,
            rss_growth_bytes=16 * 2**20,
            files_growth=2 * JOINS_AT_ONCE,
        ),
        settle_s=1.0,
    ),
]
