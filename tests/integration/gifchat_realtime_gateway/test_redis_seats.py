"""The Lua scripts for seats under races and faults, on a real Valkey."""

import asyncio
import contextlib
import secrets
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from pathlib import Path

import pytest
from bson import ObjectId
from redis.asyncio import Redis

from gifchat_chassis.background_tasks import cancel_until_done
from gifchat_cli.ports import free_port
from gifchat_cli.prerequisites import find_valkey_server
from gifchat_cli.servers.valkey import Valkey, mark_as_new
from gifchat_contracts import keys
from gifchat_contracts.codec import Frame, Kind, encode
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import NodeId, RoomId, UserId, new_node_id
from gifchat_realtime_gateway.adapters.redis_publisher import RedisPublisher
from gifchat_realtime_gateway.adapters.redis_seats import RedisSeats
from gifchat_realtime_gateway.domain.seats import Admission
from gifchat_realtime_gateway.ports import PublishFailedError, SeatsUnavailableError
from gifchat_realtime_gateway.use_cases.renew_leases import RenewLeases
from gifchat_testkit.proxy import TcpProxy
from gifchat_testkit.servers import running
from gifchat_testkit.valkey_set import ValkeySet

pytestmark = pytest.mark.servers

LEASE_TTL_S, GRACE_S = 0.6, 0.3
DEADLINE_S = 10.0


def some_user() -> Identity:
    return Identity(UserId(secrets.token_hex(12)), "#123456")


@pytest.fixture
def room_id() -> RoomId:
    return RoomId(str(ObjectId()))


@pytest.fixture
async def redis(valkey: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey, socket_timeout=5.0) as client:
        yield client


def node_on(
    redis: Redis, lease_ttl_s: float = LEASE_TTL_S, grace_s: float = GRACE_S, recovering_s: float | None = None
) -> RedisSeats:
    recovers_s = lease_ttl_s + 0.1 if recovering_s is None else recovering_s
    return RedisSeats(redis, new_node_id("test"), lease_ttl_s, grace_s, recovers_s)


def text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await condition():
            await asyncio.sleep(0.02)


async def assert_consistent(redis: Redis, room_id: RoomId) -> None:
    """Assert that the nodes' hashes, the members and the occupancy of the room agree."""
    holders: Counter[str] = Counter()
    for node in await redis.smembers(keys.nodes(room_id)):
        holders.update(map(text, await redis.hkeys(keys.node_sessions(room_id, NodeId(text(node))))))
    members = {text(user_id): text(seat) for user_id, seat in (await redis.hgetall(keys.members(room_id))).items()}
    assert holders == {user_id: int(seat.split("|")[0]) for user_id, seat in members.items() if seat[0] != "0"}
    assert await occupancy(redis, room_id) == len(members)


async def occupancy(redis: Redis, room_id: RoomId) -> int:
    """Return the number of members that the lobby shows."""
    return int(await redis.zscore(keys.occupancy(keys.partition_of(room_id)), room_id) or 0)


async def test_exactly_10_of_500_clients_on_three_nodes_get_the_last_10_seats(redis: Redis, room_id: RoomId) -> None:
    max_members, seated = 50, 40
    nodes = [node_on(redis, lease_ttl_s=30) for _ in range(3)]
    for number in range(seated):
        await nodes[number % 3].admit(room_id, some_user(), max_members=max_members, ticket_id=None)

    async def enter(number: int) -> Admission:
        return await nodes[number % 3].admit(room_id, some_user(), max_members=max_members, ticket_id=None)

    seen: list[int] = []

    async def watch() -> None:
        while not race.done():
            seen.append(await redis.hlen(keys.members(room_id)))

    race = asyncio.gather(*(enter(number) for number in range(500)))
    await watch()
    admissions = await race

    assert sum(admission.outcome == "admitted" for admission in admissions) == max_members - seated
    assert {admission.outcome for admission in admissions} == {"admitted", "room_full"}
    assert max(seen) <= max_members
    assert sorted(a.occupancy for a in admissions if a.outcome == "admitted") == list(range(seated + 1, 51))
    await assert_consistent(redis, room_id)


async def test_concurrent_joins_and_leaves_never_exceed_the_max(redis: Redis, room_id: RoomId) -> None:
    max_members = 10
    nodes = [node_on(redis, lease_ttl_s=30, grace_s=0) for _ in range(3)]
    inside = peak = 0

    async def client(number: int) -> None:
        nonlocal inside, peak
        node, who = nodes[number % 3], some_user()
        for _ in range(5):
            admission = await node.admit(room_id, who, max_members=max_members, ticket_id=None)
            if admission.outcome == "admitted":
                inside += 1
                peak = max(peak, inside)
                await asyncio.sleep(0)
                inside -= 1
                await node.leave(room_id, who.user_id)

    await asyncio.gather(*(client(number) for number in range(100)))
    assert 0 < peak <= max_members
    assert await occupancy(redis, room_id) == 0
    assert [key async for key in redis.scan_iter(f"{keys.room_prefix(room_id)}*")] == []
    assert await redis.zcard(keys.leases(keys.partition_of(room_id))) == 0


async def test_one_of_100_concurrent_uses_of_a_ticket_is_accepted(redis: Redis, room_id: RoomId) -> None:
    nodes = [node_on(redis) for _ in range(4)]
    who = some_user()
    admissions = await asyncio.gather(
        *(nodes[number % 4].admit(room_id, who, max_members=200, ticket_id="one") for number in range(100))
    )
    assert sorted(admission.outcome for admission in admissions) == ["admitted"] + ["ticket_used"] * 99
    assert 0 < await redis.ttl(keys.used_ticket(room_id, "one")) <= 65


async def test_concurrent_joins_share_round_trips(redis: Redis, room_id: RoomId) -> None:
    node = node_on(redis)
    await node.admit(room_id, some_user(), max_members=200, ticket_id=None)
    clients = await redis.info("clients")
    admissions = await asyncio.gather(
        *(node.admit(room_id, some_user(), max_members=200, ticket_id=None) for _ in range(100))
    )
    assert sorted(admission.occupancy for admission in admissions) == list(range(2, 102))
    assert (await redis.info("clients"))["connected_clients"] <= clients["connected_clients"] + 2
    await assert_consistent(redis, room_id)


async def test_a_failing_script_does_not_affect_others(redis: Redis, room_id: RoomId) -> None:
    node = node_on(redis)
    broken = RoomId(str(ObjectId()))
    await redis.set(keys.members(broken), "no hash")
    rooms = [broken if number % 3 == 0 else room_id for number in range(30)]
    outcomes = await asyncio.gather(
        *(node.admit(room, some_user(), max_members=200, ticket_id=None) for room in rooms), return_exceptions=True
    )
    for room, outcome in zip(rooms, outcomes, strict=True):
        assert isinstance(outcome, SeatsUnavailableError if room == broken else Admission)
    await redis.delete(keys.members(broken))


async def test_scripts_are_reloaded_into_a_server_that_lost_them(redis: Redis, room_id: RoomId) -> None:
    node = node_on(redis)
    await redis.script_flush()
    admissions = await asyncio.gather(
        *(node.admit(room_id, some_user(), max_members=200, ticket_id=None) for _ in range(50))
    )
    assert sorted(admission.occupancy for admission in admissions) == list(range(1, 51))
    await assert_consistent(redis, room_id)


async def test_a_cancelled_caller_does_not_delay_others(redis: Redis, room_id: RoomId) -> None:
    node = node_on(redis)
    entering = [
        asyncio.create_task(node.admit(room_id, some_user(), max_members=200, ticket_id=None)) for _ in range(20)
    ]
    await asyncio.sleep(0)
    for task in entering[::2]:
        task.cancel()
    outcomes = await asyncio.gather(*entering, return_exceptions=True)
    assert all(isinstance(outcome, Admission) for outcome in outcomes[1::2])
    await node.renew()
    assert await occupancy(redis, room_id) == len(node.held(room_id)) == 10


@contextlib.asynccontextmanager
async def losing_replies(port: int) -> AsyncIterator[tuple[int, set[bytes]]]:
    """A proxy that hangs up instead of sending the next reply to a command with one of the yielded byte strings."""
    lose: set[bytes] = set()

    async def carry(down_reader: asyncio.StreamReader, down: asyncio.StreamWriter) -> None:
        up_reader, up = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.closing(up), contextlib.closing(down):
            while request := await down_reader.read(65_536):
                up.write(request)
                reply = await up_reader.read(65_536)
                if found := {part for part in lose if part in request}:
                    lose.difference_update(found)
                    return
                down.write(reply)

    async with await asyncio.start_server(carry, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], lose


async def test_a_script_that_runs_twice_counts_once(redis: Redis, valkey: str, room_id: RoomId) -> None:
    """The client retries a command whose reply was lost."""
    who = some_user()
    async with (
        losing_replies(redis.connection_pool.connection_kwargs["port"]) as (port, lose),
        Redis(port=port, socket_timeout=5.0) as lossy,
    ):
        node = node_on(lossy, lease_ttl_s=30, grace_s=30)
        await node.admit(room_id, some_user(), max_members=5, ticket_id=None)

        lose.add(who.user_id.encode())
        assert (await node.admit(room_id, who, max_members=5, ticket_id="t")).outcome == "admitted"
        assert lose == set()
        assert (await node.admit(room_id, who, max_members=5, ticket_id=None)).outcome == "admitted"
        await assert_consistent(redis, room_id)

        lose.add(who.user_id.encode())
        assert (await node.leave(room_id, who.user_id)).outcome == "held"
        assert await redis.hget(keys.members(room_id), who.user_id) == f"1|{who.color}".encode()
        await node.leave(room_id, who.user_id)
        assert await redis.hget(keys.members(room_id), who.user_id) == f"0|{who.color}".encode()
        await assert_consistent(redis, room_id)


async def test_the_seats_of_a_dead_node_are_reaped_after_its_lease(redis: Redis, room_id: RoomId) -> None:
    dead, alive = node_on(redis), node_on(redis)
    ghosts = [some_user() for _ in range(2)]
    for who in ghosts:
        await dead.admit(room_id, who, max_members=2, ticket_id=None)
    newcomer = some_user()
    assert (await alive.admit(room_id, newcomer, max_members=2, ticket_id=None)).outcome == "room_full"

    gone: set[UserId] = set()

    async def swept() -> bool:
        gone.update(departure.user_id for departure in await alive.sweep())
        return len(gone) == 2

    started = asyncio.get_running_loop().time()
    await until(swept)
    assert asyncio.get_running_loop().time() - started < LEASE_TTL_S + 1
    assert gone == {who.user_id for who in ghosts}
    assert (await alive.admit(room_id, newcomer, max_members=2, ticket_id=None)).outcome == "admitted"
    await assert_consistent(redis, room_id)


async def test_each_departure_is_swept_by_one_node(redis: Redis) -> None:
    dead, *sweepers = (node_on(redis) for _ in range(4))
    rooms = [RoomId(str(ObjectId())) for _ in range(50)]
    for room_id in rooms:
        await dead.admit(room_id, some_user(), max_members=2, ticket_id=None)
    found: list[RoomId] = []

    async def all_found() -> bool:
        for departures in await asyncio.gather(*(node.sweep() for node in sweepers)):
            found.extend(departure.room_id for departure in departures)
        return len(found) >= len(rooms)

    await until(all_found)
    assert sorted(found) == sorted(rooms)


async def test_after_a_flush_seats_are_restored_and_never_exceed_the_max(redis: Redis, room_id: RoomId) -> None:
    max_members = 20
    nodes = [node_on(redis, lease_ttl_s=30, recovering_s=2.0) for _ in range(3)]
    for number in range(max_members):
        await nodes[number % 3].admit(room_id, some_user(), max_members=max_members, ticket_id=None)
    newcomers = [some_user() for _ in range(30)]
    outcomes: set[str] = set()
    seen: list[int] = []

    async def try_to_join() -> bool:
        admissions = await asyncio.gather(
            *(
                nodes[number % 3].admit(room_id, who, max_members=max_members, ticket_id=None)
                for number, who in enumerate(newcomers)
            )
        )
        outcomes.update(admission.outcome for admission in admissions)
        seen.append(await redis.hlen(keys.members(room_id)))
        return "room_full" in outcomes

    await redis.flushall()
    assert not await try_to_join()
    assert outcomes == {"recovering"}
    for node in nodes:
        for lost in await node.renew():
            await node.restore(lost, node.held(lost))
    await until(try_to_join)
    assert outcomes == {"recovering", "room_full"}
    assert seen[-1] == max(seen) == max_members
    await assert_consistent(redis, room_id)


class NoEvictions:
    def max_members(self, room_id: RoomId) -> int:
        return 2

    def owner_id(self, room_id: RoomId) -> UserId | None:
        return None

    async def evict(self, room_id: RoomId, user_ids: Collection[UserId]) -> None:
        raise AssertionError("no user may be evicted")


async def test_leases_are_renewed_and_restored_by_the_running_loop(redis: Redis, room_id: RoomId) -> None:
    here, there = node_on(redis), node_on(redis)
    await here.admit(room_id, some_user(), max_members=2, ticket_id=None)
    leases = RenewLeases(here, NoEvictions(), lease_ttl_s=LEASE_TTL_S, period_s=0.1)
    loop = asyncio.create_task(leases.run())
    try:
        await redis.flushall()

        async def settled() -> bool:
            assert await there.sweep() == []
            return await here.recovering_for_s() == 0

        await until(settled)
        assert await occupancy(redis, room_id) == 1
        assert leases.serves(room_id)
    finally:
        await cancel_until_done(loop)


async def test_a_stopping_node_leaves_no_seat_behind(redis: Redis) -> None:
    stopping, staying = node_on(redis, lease_ttl_s=30), node_on(redis)
    rooms = [RoomId(str(ObjectId())) for _ in range(40)]
    for room_id in rooms:
        await stopping.admit(room_id, some_user(), max_members=2, ticket_id=None)
    await stopping.release_node()
    gone: set[RoomId] = set()

    async def all_gone() -> bool:
        gone.update(departure.room_id for departure in await staying.sweep())
        return len(gone) == len(rooms)

    await until(all_gone)
    assert [key async for key in redis.scan_iter("gifchat:*room:*")] == []


@pytest.fixture
def private_valkey() -> Iterator[str]:
    """A server that a test may fill and stop."""
    with tempfile.TemporaryDirectory(prefix="gifchat-valkey-") as folder:
        server = Valkey(find_valkey_server(), free_port(), Path(folder))
        with running("valkey", server.command(), Path(folder), server.wait_until_ready):
            mark_as_new(server.url)
            yield server.url


async def test_while_redis_is_full_users_can_leave_but_not_join(private_valkey: str, room_id: RoomId) -> None:
    async with Redis.from_url(private_valkey, socket_timeout=5.0) as redis:
        node = node_on(redis, lease_ttl_s=30, grace_s=0.05)
        leaving, staying = some_user(), some_user()
        for who in (leaving, staying):
            await node.admit(room_id, who, max_members=5, ticket_id=None)
        await redis.config_set("maxmemory-policy", "noeviction")
        await redis.config_set("maxmemory", "1mb")

        with pytest.raises(SeatsUnavailableError):
            await node.admit(room_id, some_user(), max_members=5, ticket_id=None)
        assert await node.renew() == set()
        assert (await node.leave(room_id, leaving.user_id)).outcome == "grace"

        async def swept() -> bool:
            return [departure.user_id for departure in await node.sweep()] == [leaving.user_id]

        await until(swept)
        assert (await node.remove(room_id, staying.user_id)).outcome == "gone"

        await redis.config_set("maxmemory", "0")
        assert (await node.admit(room_id, some_user(), max_members=5, ticket_id=None)).outcome == "admitted"


async def test_while_redis_is_down_joins_fail_and_leaves_are_settled_later(room_id: RoomId) -> None:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="gifchat-valkey-") as folder:
        server = Valkey(find_valkey_server(), port, Path(folder))
        async with Redis.from_url(server.url, socket_timeout=1.0, retry=None) as redis:
            node = node_on(redis, lease_ttl_s=30)
            leaving, staying = some_user(), some_user()
            with running("valkey", server.command(), Path(folder), server.wait_until_ready):
                mark_as_new(server.url)
                for who in (leaving, staying):
                    await node.admit(room_id, who, max_members=5, ticket_id=None)
            for call in (
                node.admit(room_id, some_user(), max_members=5, ticket_id=None),
                node.leave(room_id, leaving.user_id),
                node.renew(),
                node.sweep(),
                node.grant(room_id, staying.user_id),
            ):
                with pytest.raises(SeatsUnavailableError):
                    await call
            async with contextlib.aclosing(RedisPublisher(redis)) as publisher:
                with pytest.raises(PublishFailedError):
                    await publisher.publish(keys.LOBBY_CHANNEL, Frame(Kind.OCCUPANCY, b"[]"))

            with running("valkey", server.command(), Path(folder), server.wait_until_ready):
                assert await node.renew() == {room_id}
                assert await node.restore(room_id, node.held(room_id)) == 1
                assert await redis.hkeys(keys.members(room_id)) == [staying.user_id.encode()]


@pytest.fixture
def private_pair() -> Iterator[ValkeySet]:
    """A server, and one that can become its replica."""
    with contextlib.ExitStack() as stack:
        members = []
        for name in ("valkey-1", "valkey-2"):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gifchat-valkey-")))
            server = Valkey(find_valkey_server(), free_port(), folder)
            stack.enter_context(running(name, server.command(), folder, server.wait_until_ready))
            members.append(server)
        mark_as_new(members[0].url)
        yield ValkeySet(members, [], TcpProxy(members[0].port))


async def test_a_promoted_replica_gives_away_no_missing_seats(private_pair: ValkeySet, room_id: RoomId) -> None:
    async with private_pair.link:
        await asyncio.to_thread(private_pair.follow)
        front = TcpProxy(private_pair.members[0].port)
        async with front, Redis.from_url(f"redis://127.0.0.1:{front.port}", socket_timeout=2.0) as redis:
            here, there = (node_on(redis, lease_ttl_s=30, grace_s=30, recovering_s=2.0) for _ in range(2))
            staying, leaving = some_user(), some_user()
            for who in (staying, leaving):
                await here.admit(room_id, who, max_members=3, ticket_id=None)
            await there.admit(room_id, some_user(), max_members=3, ticket_id=None)
            await here.renew()
            await there.renew()
            await asyncio.to_thread(private_pair.follow)

            private_pair.link.stall()
            unknown = some_user()
            await here.remove(room_id, leaving.user_id)
            assert (await there.admit(room_id, unknown, max_members=3, ticket_id=None)).outcome == "admitted"
            await asyncio.to_thread(private_pair.promote)
            front.target_port = private_pair.members[1].port
            await redis.connection_pool.disconnect()
            for node in (here, there):
                await node.aclose()

            refused = await there.admit(room_id, some_user(), max_members=30, ticket_id=None)
            assert (refused.outcome, refused.occupancy) == ("recovering", 3)
            for node in (here, there):
                assert await node.renew() == {room_id}
                await node.restore(room_id, node.held(room_id))
                assert await node.renew() == set()
            seated = {text(user_id) for user_id in await redis.hkeys(keys.members(room_id))}
            assert {staying.user_id, unknown.user_id} <= seated
            assert leaving.user_id not in seated
            assert len(seated) == 3
            assert [gone.user_id for gone in await here.sweep()] == [leaving.user_id]
            await assert_consistent(redis, room_id)

            async def settled() -> bool:
                return await here.recovering_for_s() == 0

            await until(settled)
            full = await here.admit(room_id, some_user(), max_members=3, ticket_id=None)
            assert full.outcome == "room_full"


async def test_nodes_that_were_all_disconnected_do_not_sweep_each_other(redis: Redis, room_id: RoomId) -> None:
    first, last = node_on(redis), node_on(redis)
    staying = [some_user() for _ in range(4)]
    for who, node in zip(staying, (first, last, first, last), strict=True):
        await node.admit(room_id, who, max_members=4, ticket_id=None)
    await asyncio.sleep(LEASE_TTL_S + 0.1)

    assert await first.sweep() == []
    assert await first.renew() == set()
    newcomer = await first.admit(room_id, some_user(), max_members=5, ticket_id=None)
    assert newcomer.outcome == "recovering"
    assert await last.renew() == set()
    assert {text(user_id) for user_id in await redis.hkeys(keys.members(room_id))} == {who.user_id for who in staying}

    async def swept() -> bool:
        await first.renew()
        return {departure.user_id for departure in await first.sweep()} == {staying[1].user_id, staying[3].user_id}

    await until(swept)
    await assert_consistent(redis, room_id)


async def test_a_published_frame_reaches_the_subscribers_of_its_channel(redis: Redis) -> None:
    frame = Frame(Kind.OCCUPANCY, b'["occupancy",{}]')
    async with redis.pubsub() as pubsub:
        await pubsub.ssubscribe(keys.LOBBY_CHANNEL)

        async def received() -> bool:
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=0.1)
            return message is not None and message["data"] == encode(frame)

        assert not await received()
        async with contextlib.aclosing(RedisPublisher(redis)) as publisher:
            await publisher.publish(keys.LOBBY_CHANNEL, frame)
        await until(received)
