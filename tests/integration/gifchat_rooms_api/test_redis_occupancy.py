"""rooms-api reads the seats that a gateway's real scripts have written."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from gifchat_contracts import keys, limits
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import NodeId, RoomId
from gifchat_realtime_gateway.adapters.redis_seats import RedisSeats as GatewaySeats
from gifchat_rooms_api.adapters.redis_occupancy import SEEN_S, RedisOccupancy
from gifchat_rooms_api.ports import Member, OccupancyUnavailableError, RoomOccupancy

pytestmark = pytest.mark.servers

ROOM, EMPTY = RoomId("65f0c0ffee0123456789abcd"), RoomId("65f0c0ffee0123456789abce")
ANNE, BOB = Identity.of_session("anne"), Identity.of_session("bob")


@pytest.fixture
async def redis(valkey: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey, socket_timeout=1.0) as redis:
        yield redis


@pytest.fixture
def gateway(redis: Redis) -> GatewaySeats:
    return GatewaySeats(redis, NodeId("node"), limits.LEASE_TTL_S, limits.SEAT_GRACE_S, limits.RECOVERING_S)


@pytest.fixture
def seats(redis: Redis) -> RedisOccupancy:
    return RedisOccupancy(redis)


async def test_seats_written_by_a_gateway_are_read(gateway: GatewaySeats, seats: RedisOccupancy) -> None:
    for who in (ANNE, BOB, BOB):
        await gateway.admit(ROOM, who, max_members=10, ticket_id=None)
    assert await seats.members([ROOM, EMPTY]) == {ROOM: 2, EMPTY: 0}
    assert await seats.for_user(ROOM, ANNE.user_id) == RoomOccupancy(2, seated=True, settled=True)
    assert await seats.for_user(EMPTY, ANNE.user_id) == RoomOccupancy(0, seated=False, settled=True)
    assert (await seats.snapshot()).members == {ROOM: 2}
    assert not await seats.certainly_empty(ROOM)
    assert await seats.certainly_empty(EMPTY)


async def test_a_seat_in_its_grace_time_still_counts(gateway: GatewaySeats, seats: RedisOccupancy) -> None:
    await gateway.admit(ROOM, ANNE, max_members=10, ticket_id=None)
    await gateway.leave(ROOM, ANNE.user_id)
    assert (await seats.for_user(ROOM, ANNE.user_id)).seated
    await gateway.admit(ROOM, ANNE, max_members=10, ticket_id=None)
    await gateway.remove(ROOM, ANNE.user_id)
    assert await seats.for_user(ROOM, ANNE.user_id) == RoomOccupancy(0, seated=False, settled=True)


async def test_a_seat_that_was_found_counts_for_a_second(gateway: GatewaySeats, redis: Redis) -> None:
    now_s = 100.0
    seats = RedisOccupancy(redis, lambda: now_s)
    assert not await seats.seated(ROOM, ANNE.user_id)
    await gateway.admit(ROOM, ANNE, max_members=10, ticket_id=None)
    assert await seats.seated(ROOM, ANNE.user_id), "a missing seat is looked up each time"
    await gateway.remove(ROOM, ANNE.user_id)
    now_s += SEEN_S
    assert await seats.seated(ROOM, ANNE.user_id)
    now_s += 0.001
    assert not await seats.seated(ROOM, ANNE.user_id)
    seats.close()


async def test_a_partition_is_settled_only_after_its_recovery_time(redis: Redis, seats: RedisOccupancy) -> None:
    partition = keys.partition_of(ROOM)
    everything = frozenset(range(keys.PARTITIONS))
    assert (await seats.snapshot()).settled == everything
    for marker in (None, 2**45):
        await redis.delete(keys.generation(partition))
        if marker is not None:
            await redis.set(keys.generation(partition), marker)
        assert (await seats.snapshot()).settled == everything - {partition}
        assert not await seats.certainly_empty(ROOM)
        assert not (await seats.for_user(ROOM, ANNE.user_id)).settled


async def test_members_in_their_grace_are_not_connected(gateway: GatewaySeats, seats: RedisOccupancy) -> None:
    for who in (ANNE, BOB):
        await gateway.admit(ROOM, who, max_members=10, ticket_id=None)
    await gateway.leave(ROOM, ANNE.user_id)
    page = await seats.page(ROOM, 0, 10)
    assert page.next_cursor == 0
    assert {member.user_id: member for member in page.members} == {
        ANNE.user_id: Member(ANNE.user_id, ANNE.color, connected=False),
        BOB.user_id: Member(BOB.user_id, BOB.color, connected=True),
    }


async def test_a_query_for_no_rooms_is_empty(seats: RedisOccupancy) -> None:
    assert await seats.members([]) == {}


async def test_occupancy_is_unavailable_without_redis() -> None:
    async with Redis.from_url("redis://127.0.0.1:1/0") as redis:
        seats = RedisOccupancy(redis)
        for question in (
            seats.members([ROOM]),
            seats.for_user(ROOM, ANNE.user_id),
            seats.page(ROOM, 0, 10),
            seats.snapshot(),
            seats.certainly_empty(ROOM),
        ):
            with pytest.raises(OccupancyUnavailableError):
                await question
