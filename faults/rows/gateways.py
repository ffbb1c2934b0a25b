"""Gateways that end, stop for a while, move their sockets away, and are left alone."""

import asyncio
import random
from dataclasses import replace
from math import ceil

import httpx

from faults.clients.load import Load, LoadShape
from faults.clients.looks import back_elsewhere
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
"""Who polled and said nothing is gone after a ping and the time for its answer."""
SHED_SHARE = 0.3
ONLY_THERE = 10
CROWDS, EACH, MORE_BYTES, MORE_FILES = 3, 8, 4 * 2**20, 8
IDLE_WITHIN_S = 6.0
"""Connections to rooms-api are kept for four seconds."""
TRANSPORTS: tuple[Transport, ...] = ("websocket", "polling", "upgrade")
JOINS_AT_ONCE = 15
"""Of a third of the crowd, on one of two gateways."""
PING_S, PONG_S, GRACE_S = 1.0, 2.0, 2.0
IMPATIENT = {"PING_INTERVAL": f"{PING_S:g}", "PING_TIMEOUT": f"{PONG_S:g}", "SEAT_GRACE": f"{GRACE_S:g}"}
CROWD = LoadShape(readers=30, writers=3, per_s=15.0, max_members=60)
FULL = LoadShape(readers=8, max_members=4)


async def killed(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """SIGKILL, and one of its readers never comes back: its seat is a ghost's."""
    # Who writes has not gone: the ghost is somebody who only reads.
    writing = {writer.person for writer in load.writers}
    ghost = rng.choice([reader for reader in load.readers if reader.person not in writing])
    victim = next(gateway for gateway in cluster.gateways if gateway.name == ghost.gateway)
    lost = load.readers_on(victim)
    await victim.process.kill()
    await ghost.vanish()
    return {"clients on the gateway": len(lost)}


async def terminated(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """SIGTERM: it moves its sockets away and exits with 0."""
    victim = rng.choice([gateway for gateway in cluster.gateways if load.readers_on(gateway)])
    lost = load.readers_on(victim)
    code = await victim.process.terminate(EXIT_WITHIN_S)
    assert code == 0, f"{victim.name} ended with {code}"
    return {"clients on the gateway": len(lost)}


async def stopped(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """SIGSTOP in full rooms, until newcomers have some of its seats, and SIGCONT: who lost the seat is told so."""
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
        on(load, rng.choice([gateway for gateway in cluster.gateways if gateway is not victim]), room)
        for room, count in taken.items()
        for _ in range(count)
    ]
    await load.all_joined(SETTLED_WITHIN_S, newcomers)
    victim.process.resume()
    continued_at = now()

    def outside() -> dict[str, int]:
        return {room: sum(not reader.joined.is_set() for reader in frozen[room]) for room in taken}

    await until(lambda: outside() == taken, SETTLED_WITHIN_S, f"{taken} to be told that others have their seats")
    told_s = now() - continued_at
    load.fault_over()
    await asyncio.sleep(rng.uniform(0.2, 1.0))
    assert outside() == taken, f"{outside()} are outside, and {taken} seats are others'"
    # They would get in as soon as somebody goes, and have missed what was said until then.
    await asyncio.gather(*(reader.leave() for room in taken for reader in frozen[room] if not reader.joined.is_set()))
    return {"seats free, s": free_s, "refused members told, s": told_s}


async def storm(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """SIGKILL, and all of its clients come at once to the others, with their positions.

    One room is nowhere else: the others have to open it.
    """
    victim = max(cluster.gateways, key=lambda gateway: len(load.readers_on(gateway)))
    room = await load.add_room()
    there = [on(load, victim, room) for _ in range(ONLY_THERE)]
    await load.all_joined(readers=there)
    load.add_writer(there[0], 10.0)
    await until(lambda: load.writers[-1].acknowledged, SETTLED_WITHIN_S, "a message in the room that is nowhere else")
    lost = load.readers_on(victim)
    reads_before = await log_reads(cluster)
    await victim.process.kill()
    load.fault_over()
    await back_elsewhere(lost, victim, BACK_WITHIN_S)
    reads = await log_reads(cluster) - reads_before
    room_and_gateway = len(load.rooms) * (len(cluster.gateways) - 1)
    # One to fill the ring and one to repair, whatever the number of clients.
    assert reads <= 2 * room_and_gateway, f"{reads:g} reads for {room_and_gateway} rooms and gateways"
    return {"clients on the gateway": len(lost), "log reads per room and gateway": reads / room_and_gateway}


async def rolled(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """SIGTERM and a new start, one gateway after the other, as a deployment does it."""
    took_s = []
    for gateway in rng.sample(cluster.gateways, len(cluster.gateways)):
        began = now()
        code = await gateway.process.terminate(EXIT_WITHIN_S)
        took_s.append(now() - began)
        assert code == 0, f"{gateway.name} ended with {code}"
        await gateway.process.start()
        await gateway.process.wait_until_ready()
    load.fault_over()
    await load.all_joined(BACK_WITHIN_S)
    return {"slowest exit, s": max(took_s)}


async def shed(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """An operator moves 30 % of the sockets of one gateway away."""
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
    await back_elsewhere(moved(), victim, BACK_WITHIN_S)
    assert len(moved()) == wanted, f"{len(moved())} of {len(here)} were moved"
    assert len(load.readers_on(victim)) == len(here) - wanted
    return {"clients on the gateway": len(here), "clients moved": wanted}


async def left_alone(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """A crowd comes and goes, with and without a goodbye, several times; the first one makes room for all others."""
    first: dict[str, Resources] = {}
    grown_bytes = grown_files = 0
    for _ in range(2 if load.short else CROWDS):
        room = await load.add_room()
        crowd = [load.add_reader(room, transport=transport) for transport in TRANSPORTS * EACH]
        await load.all_joined(readers=crowd)
        await asyncio.gather(*(reader.leave() if rng.random() < 0.5 else reader.vanish() for reader in crowd))
        for gateway in cluster.gateways:
            await only_staying(load, gateway)
            before = first.setdefault(gateway.name, used_by(gateway))
            idle_at = now() + IDLE_WITHIN_S
            while (used := used_by(gateway)).files - before.files > MORE_FILES and now() < idle_at:
                await asyncio.sleep(0.2)
            grown_bytes = max(grown_bytes, used.rss_bytes - before.rss_bytes)
            grown_files = max(grown_files, used.files - before.files)
    assert grown_bytes <= MORE_BYTES, f"a gateway has grown by {grown_bytes} bytes"
    assert grown_files <= MORE_FILES, f"a gateway has {grown_files} files more"
    return {"memory growth, MiB": max(0, grown_bytes) / 2**20, "growth in open files": max(0, grown_files)}


async def only_staying(load: Load, gateway: Node) -> None:
    """Return when the gateway has no other connections than those of readers that stay."""
    gone_at = now() + GONE_WITHIN_S
    while (left := await total([gateway], "gateway_sockets")) != (staying := len(load.readers_on(gateway))):
        assert now() < gone_at, f"{gateway.name} has {left:g} sockets of {staying} clients"
        await asyncio.sleep(0.1)


def used_by(gateway: Node) -> Resources:
    """Without the connections to Redis, which are kept: as many as were ever needed at once, and 72 at most."""
    used = gateway.process.resources()
    assert used is not None, f"{gateway.name} does not run"
    return Resources(used.rss_bytes, used.files - gateway.redis.connections)


def on(load: Load, gateway: Node, room: str) -> Reader:
    """A newcomer whom nginx sends to this gateway."""
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
        fault="SIGSTOP to one of three gateways in full rooms; SIGCONT once others have given some of its seats away",
        inject=stopped,
        shape=Shape(gateways=3),
        load=FULL,
        # Seats are given away: that is the point.
        limits=Limits(seats_kept_s=None),
        settle_s=1.5,
    ),
    Row(
        name="storm",
        fault="SIGKILL to one of three gateways and to all of its clients",
        inject=storm,
        shape=Shape(gateways=3),
        load=CROWD,
        # As many as join at once need a connection to Redis each, and those are kept.
        limits=Limits(resume_p99_s=5.0, files_growth=2 * JOINS_AT_ONCE),
    ),
    Row(
        name="rolling restart",
        fault="each of three gateways gets SIGTERM and is started again, one after the other",
        inject=rolled,
        shape=Shape(gateways=3),
        # Each gateway has more clients than may come back in a second.
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
        inject=left_alone,
        shape=Shape(gateways=2, gateway_env=IMPATIENT),
        load=LoadShape(max_members=60),
        limits=Limits(
            ghosts_s=PING_S + PONG_S + GRACE_S + 2.0,
            seats_kept_s=GRACE_S - 0.5,
            rss_growth_bytes=16 * 2**20,
            files_growth=2 * JOINS_AT_ONCE,
        ),
        settle_s=1.0,
    ),
]
