"""Slow clients, half-open and cut connections, two tabs, and changes of transport or gateway."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx

from faults.clients.load import Load, LoadShape
from faults.clients.measuring import delays_s, logged
from faults.clients.person import Person
from faults.clients.posting import Poster
from faults.clients.reader import Reader
from faults.clients.sockets import Ack, ChatConnection, Event, Transport
from faults.judge import records
from faults.judge.checker import Limits, percentile
from faults.judge.records import now
from faults.row import Figures, Row
from faults.system.cluster import FaultCluster, Node, Shape
from gifchat_cli.ports import LOOPBACK
from gifchat_contracts import limits, socket_events
from gifchat_testkit import affinity
from gifchat_testkit.proxy import BOTH, Direction, TcpProxy
from gifchat_testkit.raw_websocket import RawWebSocket, raw_websocket
from gifchat_testkit.waiting import until

SETTLED_WITHIN_S = 10.0
TICKET_WITHIN_S = 30.0
ANSWERED_WITHIN_S = 5.0

# The gateway buffers this much for a client that does not read, and then disconnects it.
BUFFER_BYTES = 1024 * 1024 + 256 * 1024
SLOW = 6
SLOW_CONSUMER = 4008
FILLED_WITHIN_S = 40.0
OTHERS_P99_S = 0.5
LONG_TEXT = "가" * limits.TEXT_MAX_CHARS
AT_ONCE = 8

PING_INTERVAL_S, PING_TIMEOUT_S = 1.0, 2.0
FAST_PINGS = {"PING_INTERVAL": f"{PING_INTERVAL_S:g}", "PING_TIMEOUT": f"{PING_TIMEOUT_S:g}"}
NOTICED_WITHIN_S = PING_INTERVAL_S + PING_TIMEOUT_S + 0.25 + 0.5
"""The limit in docs/engine.md, plus half a second to find it in the log."""
TRANSPORTS: tuple[Transport, ...] = ("websocket", "polling", "upgrade", "websocket")
TICKETS, TRIES = 5, 6


async def stopped_reading(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """Some clients of a hot room stop reading. They get a close code, and the others notice nothing.

    Another client stops reading behind nginx, whose buffers may hide this from the gateway. It reads again at the end.
    """
    gateway = max(cluster.gateways, key=lambda gateway: len(load.readers_on(gateway)))
    others = load.readers_on(gateway)
    room = load.rooms[0]
    sleeper = load.add_reader(room)
    await load.all_joined(readers=[sleeper])
    asleep = sleeper.connection
    assert asleep is not None, "joined without a connection"
    asleep.pause_reading()
    async with AsyncExitStack() as stack:
        poster = stack.enter_context(Poster(load, next(r for r in load.readers if r.room == room), "poster"))
        async with flooding(poster, LONG_TEXT, AT_ONCE):
            began = now()
            await asyncio.sleep(1.0)
            slow = {
                person: await stack.enter_async_context(not_reading(gateway, person, room))
                for person in (load.person(f"slow-{number}") for number in range(SLOW))
            }
            stopped_at, before = now(), used_bytes(gateway)
            most = before

            async def close_code(person: Person, websocket: RawWebSocket) -> int | None:
                """Read again once the gateway has logged the disconnect, and return its close code."""
                nonlocal most
                await logged(gateway, rf"disconnected .*slow consumer.*user={person.who.user_id}", FILLED_WITHIN_S)
                most = max(most, used_bytes(gateway))
                return await websocket.closed()

            codes = await asyncio.gather(*(close_code(person, websocket) for person, websocket in slow.items()))
            gone_at = now()
        assert codes == [SLOW_CONSUMER] * SLOW, f"closed with {codes}"
    asleep.resume_reading()
    load.fault_over()
    grown = most - before
    assert grown <= 2 * SLOW * BUFFER_BYTES, f"{gateway.name} grew by {grown / 2**20:.1f} MiB"
    await load.catch_up(SETTLED_WITHIN_S)
    calm = percentile(delays_s(load, others, began, stopped_at), 99)
    p99 = percentile(delays_s(load, others, stopped_at, gone_at), 99)
    assert p99 <= OTHERS_P99_S, f"the others' p99 was {p99:.2f} s, and {calm:.2f} s before the fault"
    return {
        "slow consumers disconnected, s": gone_at - stopped_at,
        "memory growth of the gateway, MiB": grown / 2**20,
        "others' p99 during the fault, ms": p99 * 1000,
        "others' p99 before, ms": calm * 1000,
    }


async def half_open(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """The network between some clients and nginx stops carrying data, without closing the connections."""
    async with front_proxy(cluster) as (proxy, url):
        behind = [
            load.add_reader(load.rooms[0], person=load.person(f"behind-{transport}", url), transport=transport)
            for transport in TRANSPORTS[:2]
        ]
        await load.all_joined(readers=behind)
        where = {reader: next(node for node in cluster.gateways if node.name == reader.gateway) for reader in behind}
        proxy.stall(*BOTH)
        took_s = await asyncio.gather(
            *(
                logged(node, rf"disconnected .*user={reader.person.who.user_id}", NOTICED_WITHIN_S)
                for reader, node in where.items()
            )
        )
        proxy.cut()
        await proxy.heal()
        load.fault_over()
        await reconnect_without_proxy(cluster, load, behind)
    return {"dead clients disconnected, s": max(took_s)}


async def cut(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """Connections are reset after a random number of bytes in one direction, again and again."""
    async with front_proxy(cluster) as (proxy, url):
        behind = [
            load.add_reader(rng.choice(load.rooms), person=load.person(f"behind-{number}", url), transport=transport)
            for number, transport in enumerate(TRANSPORTS)
        ]
        await load.all_joined(readers=behind)
        load.add_writer(behind[0], 10.0)
        before = proxy.accepted
        for _ in range(2 if load.short else 5):
            direction: Direction = rng.choice(BOTH)
            proxy.drop_after(rng.randint(1, 6_000), direction)
            await asyncio.sleep(rng.uniform(0.3, 0.8))
            await proxy.heal()
            await asyncio.sleep(rng.uniform(0.0, 0.3))
        load.fault_over()
        made = proxy.accepted - before
        assert made, "nothing was cut"
        await reconnect_without_proxy(cluster, load, behind)
    return {"reconnects": made}


async def upgraded(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """All clients upgrade from polling to WebSocket, again and again, under heavy writing."""
    count = 0
    with Poster(load, load.readers[0], "poster-1") as first, Poster(load, load.readers[1], "poster-2") as second:
        async with flooding(first, "burst", AT_ONCE), flooding(second, "burst", AT_ONCE):
            for _ in range(2 if load.short else 5):
                for reader in load.readers:
                    reader.refresh()
                await until(
                    lambda: not any(reader.joined.is_set() for reader in load.readers), SETTLED_WITHIN_S, "loss"
                )
                await load.all_joined(SETTLED_WITHIN_S)
                await until(lambda: all(map(over_websocket, load.readers)), SETTLED_WITHIN_S, "all to be upgraded")
                count += len(load.readers)
                await asyncio.sleep(rng.uniform(0.1, 0.4))
    return {"upgrades": count}


async def moved(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """All clients lose their connection and rejoin on another gateway, with a position."""
    count = 0
    for _ in range(2 if load.short else 4):
        wanted: dict[Reader, str] = {}
        for reader in load.readers:
            reader.refresh()
            other = rng.choice([node for node in cluster.gateways if node.name != reader.gateway])
            reader.person.cookies[affinity.COOKIE] = other.tag
            wanted[reader] = other.name
        await connection_lost(*load.readers)
        await load.all_joined(SETTLED_WITHIN_S)
        where = {reader: reader.gateway for reader in load.readers}
        assert where == wanted, "nginx routed them to other gateways"
        count += len(load.readers)
        await asyncio.sleep(rng.uniform(0.1, 0.6))
    joins = [record for reader in load.readers for record in log_of(load, reader) if isinstance(record, records.Joined)]
    recovered = sum(join.recovered for join in joins)
    assert recovered == count, f"{recovered} of {count} joins recovered"
    return {"reconnects to another gateway": count, "recovered": recovered}


async def two_tabs(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """A room with two seats: a user with two tabs on two gateways, a witness, and a user who waits.

    Meanwhile the owner enters the full room and leaves it.
    """
    room = await load.add_room(2)
    user = load.person("two-tabs")
    tabs = [
        load.add_reader(room, person=pinned(load.same_person(user), node)) for node in rng.sample(cluster.gateways, 2)
    ]
    await load.all_joined(readers=tabs)
    witness = load.add_reader(room)
    await load.all_joined(readers=[witness])
    seen = len(presence(load, witness, user))
    waiting = load.person("waiting")
    connection = await ChatConnection.open(waiting)
    try:
        owner = load.add_reader(room, person=load.owner())
        await load.all_joined(SETTLED_WITHIN_S, [owner])
        assert await join_result(connection, room) == "room_full"
        await owner.leave()
        watcher = next(watcher for watcher in load.watchers if watcher.room == room)
        await until(lambda: watcher.members == 2, limits.SEAT_GRACE_S + 1.5, "the owner's seat to be free")
        for tab in [*tabs, *tabs]:
            tab.refresh()
            await connection_lost(tab)
            assert await join_result(connection, room) == "room_full"
            await load.all_joined(SETTLED_WITHIN_S, [tab])
        await tabs[0].leave()
        await asyncio.sleep(1.0)
        assert await join_result(connection, room) == "room_full", "the seat was free with one tab left"
        assert presence(load, witness, user)[seen:] == [], "a refresh or a closed tab was announced"
        await tabs[1].leave()
        left_at = now()
        assert await join_result(connection, room) == "room_full", "the last tab might only refresh"
        await until(lambda: watcher.members == 1, limits.SEAT_GRACE_S + 1.5, "the seat to be free")
        free_s = now() - left_at
        await until(lambda: presence(load, witness, user)[seen:] == ["exit"], ANSWERED_WITHIN_S, "one exit")
    finally:
        await connection.close()
    await load.all_joined(SETTLED_WITHIN_S, [load.add_reader(room, person=waiting)])
    return {"seat free after the last tab closed, s": free_s}


async def replayed(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """Each ticket of a private room is used many times at once, on all gateways."""
    owner, guest = load.person("private"), load.person("guest")
    made = await owner.http.post("/api/v1/rooms", json={"title": "private", "max": 10, "password": "let me in"})
    made.raise_for_status()
    room = made.json()["_id"]
    for _ in range(TICKETS):
        ticket = await ticket_of(guest, room, "let me in")
        async with AsyncExitStack() as stack:
            connections = []
            for number in range(TRIES):
                node = cluster.gateways[number % len(cluster.gateways)]
                connection = await ChatConnection.open(pinned(load.same_person(guest), node))
                stack.push_async_callback(connection.close)
                connections.append(connection)
            answers = await asyncio.gather(*(join_result(each, room, ticket) for each in connections))
        assert sorted(answers) == ["ok", *["ticket_used"] * (TRIES - 1)], f"one ticket: {answers}"
    return {"tickets": TICKETS, "uses of tickets": TICKETS * TRIES}


async def ticket_of(person: Person, room: str, password: str) -> str:
    """Ask for a ticket. All runs share one rate-limited address, so wait as long as the answer says."""
    async with asyncio.timeout(TICKET_WITHIN_S):
        while True:
            answer = await person.http.post(f"/api/v1/rooms/{room}/tickets", json={"password": password})
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                answer.raise_for_status()
                return str(answer.json()["ticket"])
            await asyncio.sleep(float(answer.headers["Retry-After"]))


async def join_result(connection: ChatConnection, room: str, ticket: str | None = None) -> str:
    """Try to join; return `ok` or the code of the refusal."""
    wanted = await connection.emit(socket_events.JOIN, {"room": room, **({"ticket": ticket} if ticket else {})})
    async with asyncio.timeout(ANSWERED_WITHIN_S):
        while True:
            match await connection.receive():
                case Ack(id=ack_id, data=data) if ack_id == wanted:
                    return "ok" if data["ok"] else str(data["code"])
                case Ack() | Event() | None:
                    continue


def pinned(person: Person, gateway: Node) -> Person:
    """Make nginx route this user to the gateway."""
    person.cookies[affinity.COOKIE] = gateway.tag
    return person


def over_websocket(reader: Reader) -> bool:
    """Whether the reader's polling connection was upgraded."""
    return reader.connection is not None and reader.connection.upgraded


def log_of(load: Load, reader: Reader) -> list[records.Record]:
    """Return the reader's records so far."""
    text = (load.folder / f"{reader.name}.jsonl").read_text(encoding="utf-8")
    return [records.decode(line) for line in text.splitlines()]


def presence(load: Load, witness: Reader, user: Person) -> list[str]:
    """Return the join and leave events of a user that another user received."""
    return [
        record.event
        for record in log_of(load, witness)
        if isinstance(record, records.Presence) and record.user == user.who.user_id
    ]


def used_bytes(gateway: Node) -> int:
    """Return a gateway's resident memory in bytes."""
    used = gateway.process.resources()
    assert used is not None, f"{gateway.name} does not run"
    return used.rss_bytes


@asynccontextmanager
async def front_proxy(cluster: FaultCluster) -> AsyncIterator[tuple[TcpProxy, str]]:
    """Start a proxy in front of nginx; yields it and its URL."""
    async with TcpProxy(int(cluster.url.rpartition(":")[2])) as proxy:
        yield proxy, f"http://{LOOPBACK}:{proxy.port}"


async def connection_lost(*readers: Reader) -> None:
    """Wait until these readers have noticed that the connection is lost."""
    await until(lambda: not any(reader.joined.is_set() for reader in readers), SETTLED_WITHIN_S, "the connection loss")


async def reconnect_without_proxy(cluster: FaultCluster, load: Load, readers: list[Reader]) -> None:
    """Make these readers reconnect without the proxy, and wait until they are back in their rooms."""
    await load.all_joined(SETTLED_WITHIN_S)
    for reader in readers:
        reader.person.url = cluster.url
        reader.person.http.base_url = httpx.URL(cluster.url)
        reader.refresh()
        await connection_lost(reader)
    await load.all_joined(SETTLED_WITHIN_S)


@asynccontextmanager
async def flooding(poster: Poster, text: str, at_once: int) -> AsyncIterator[None]:
    """Post as fast as possible, `at_once` at a time, until the block ends; messages in flight are acknowledged."""
    over = asyncio.Event()

    async def post(lane: int) -> None:
        number = 0
        while not over.is_set():
            number += 1
            await poster.until_acked(f"flood-{lane}-{number}", text)

    async with asyncio.TaskGroup() as lanes:
        for lane in range(at_once):
            lanes.create_task(post(lane))
        try:
            yield
        finally:
            over.set()


@asynccontextmanager
async def not_reading(gateway: Node, person: Person, room: str) -> AsyncIterator[RawWebSocket]:
    """A client that joins the room and then stops reading."""
    target = "/socket.io/?EIO=4&transport=websocket"
    headers = {"Cookie": person.cookie_header()}
    async with raw_websocket(gateway.port, target, headers, receive_buffer=16 * 1024) as websocket:
        namespace = socket_events.CHAT_NAMESPACE
        await websocket.text(f"40{namespace},")
        while not (await websocket.frame())[1].startswith(f"40{namespace}".encode()):
            pass
        await websocket.text(f"42{namespace},1{json.dumps([socket_events.JOIN, {'room': room}])}")
        while not (answer := (await websocket.frame())[1]).startswith(f"43{namespace},1".encode()):
            pass
        assert b'"ok":true' in answer, answer[:200]
        yield websocket


ROWS = [
    Row(
        name="slow reader",
        fault="some clients of a hot room stop reading",
        inject=stopped_reading,
        load=LoadShape(max_members=40),
    ),
    Row(
        name="half-open connection",
        fault="some clients neither send nor receive anything, but their connections stay open",
        inject=half_open,
        shape=Shape(gateways=2, gateway_env=FAST_PINGS),
    ),
    Row(
        name="connection cut",
        fault="connections are reset in the middle of a frame or a response",
        inject=cut,
    ),
    Row(
        name="upgrade in a burst",
        fault="all clients upgrade from polling to WebSocket, again and again, under heavy writing",
        inject=upgraded,
        load=LoadShape(transports=("upgrade",)),
    ),
    Row(
        name="another gateway",
        fault="all clients lose their connection and reconnect to another gateway, again and again",
        inject=moved,
        shape=Shape(gateways=3),
    ),
    Row(
        name="two tabs",
        fault="a user with two tabs refreshes and closes them while another user waits for the seat",
        inject=two_tabs,
        limits=Limits(ghosts_s=limits.SEAT_GRACE_S + 1.5),
        settle_s=1.0,
    ),
    Row(
        name="replayed ticket",
        fault="each ticket is used six times at once, across all gateways",
        inject=replayed,
        settle_s=1.0,
    ),
]
