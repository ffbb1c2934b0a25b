"""`gifchat_realtime_gateway.ports.Seats`: one suite for the fake and for the Lua scripts on real servers."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from bson import ObjectId
from redis.asyncio import Redis

from gifchat_cli.ports import free_port
from gifchat_cli.servers.valkey import Valkey, mark_as_new
from gifchat_contracts.grants import Grant
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_realtime_gateway.ports import Seats, SeatsUnavailableError
from gifchat_testkit.seat_worlds import READMISSION_S, RECOVERING_S, FakeSeatWorld, RedisSeatWorld, SeatWorld
from gifchat_testkit.servers import running

ROOM, OTHER_ROOM = RoomId(str(ObjectId())), RoomId(str(ObjectId()))
REDIS_SERVER = shutil.which("redis-server")


def user(name: str) -> Identity:
    return Identity(UserId(name.encode().hex().ljust(24, "0")), f"#{name.encode().hex().ljust(6, '0')[:6]}")


ANNE, BOB, CARL, DORA = map(user, ("anne", "bob", "carl", "dora"))


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Redis server. Without one on PATH, no test uses this fixture."""
    assert REDIS_SERVER is not None
    with tempfile.TemporaryDirectory(prefix="gifchat-redis-") as folder:
        server = Valkey(Path(REDIS_SERVER), free_port(), Path(folder))
        with running("redis", server.command(), Path(folder), server.wait_until_ready):
            yield server.url


@pytest.fixture(
    params=[
        "fake",
        pytest.param("valkey_url", marks=pytest.mark.servers),
        *([pytest.param("redis_url", marks=pytest.mark.servers)] if REDIS_SERVER else []),
    ]
)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[SeatWorld]:
    if request.param == "fake":
        yield FakeSeatWorld()
        return
    url = request.getfixturevalue(request.param)
    async with Redis.from_url(url, socket_timeout=5.0) as redis:
        await redis.flushall()
        mark_as_new(url)
        real = RedisSeatWorld(redis)
        yield real
        await real.aclose()


async def enter(node: Seats, *users: Identity, room_id: RoomId = ROOM, max_members: int = 10) -> None:
    for who in users:
        admission = await node.admit(room_id, who, max_members=max_members, ticket_id=None)
        assert admission.outcome == "admitted"


async def members(world: SeatWorld, room_id: RoomId = ROOM) -> int:
    return (await world.registered(room_id)).occupancy or 0


async def test_a_room_is_full_at_its_max(world: SeatWorld) -> None:
    await enter(world.node("n1"), ANNE, max_members=2)
    await enter(world.node("n2"), BOB, max_members=2)
    refusal = await world.node("n2").admit(ROOM, CARL, max_members=2, ticket_id=None)
    assert (refusal.outcome, refusal.occupancy, refusal.arrived) == ("room_full", 2, False)
    assert await members(world) == 2


async def test_all_tabs_of_a_user_share_one_seat_across_nodes(world: SeatWorld) -> None:
    first = await world.node("n1").admit(ROOM, ANNE, max_members=2, ticket_id=None)
    tab = await world.node("n1").admit(ROOM, ANNE, max_members=2, ticket_id=None)
    elsewhere = await world.node("n2").admit(ROOM, ANNE, max_members=2, ticket_id=None)
    assert [first.arrived, tab.arrived, elsewhere.arrived] == [True, False, False]
    assert elsewhere.occupancy == 1

    assert (await world.node("n1").leave(ROOM, ANNE.user_id)).outcome == "held"
    assert (await world.node("n1").leave(ROOM, ANNE.user_id)).outcome == "held"
    last = await world.node("n2").leave(ROOM, ANNE.user_id)
    assert (last.outcome, last.occupancy, last.color) == ("grace", 1, ANNE.color)


async def test_the_owner_enters_a_full_room_and_the_others_stay_within_its_max(world: SeatWorld) -> None:
    await enter(world.node("n1"), ANNE, BOB, max_members=2)
    owner = await world.node("n2").admit(ROOM, DORA, max_members=None, ticket_id=None)
    assert (owner.outcome, owner.occupancy, owner.arrived) == ("admitted", 3, True)
    assert (await world.node("n1").admit(ROOM, CARL, max_members=2, ticket_id=None)).outcome == "room_full"
    await world.node("n1").remove(ROOM, ANNE.user_id)
    assert (await world.node("n1").admit(ROOM, CARL, max_members=2, ticket_id=None)).outcome == "room_full"
    await world.node("n2").remove(ROOM, DORA.user_id)
    assert (await world.node("n1").admit(ROOM, CARL, max_members=2, ticket_id=None)).outcome == "admitted"


async def test_a_late_node_readmits_the_owner_to_a_full_room(world: SeatWorld) -> None:
    late, other = world.node("late"), world.node("other")
    await enter(late, ANNE, max_members=2)
    await late.admit(ROOM, DORA, max_members=None, ticket_id=None)
    await world.expire_leases("late")
    await other.sweep()
    await enter(other, BOB, CARL, max_members=2)
    readmission = await late.readmit(ROOM, late.held(ROOM), max_members=2, owner_id=DORA.user_id)
    assert (readmission.refused, readmission.occupancy) == ({ANNE.user_id}, 3)


async def test_the_grace_of_a_guests_seat_is_its_own(world: SeatWorld) -> None:
    await enter(world.node("n1"), ANNE, BOB)
    guest = await world.node("n1").leave(ROOM, ANNE.user_id, guest=True)
    assert (guest.outcome, guest.occupancy) == ("gone", 1)
    assert (await world.node("n1").leave(ROOM, BOB.user_id)).outcome == "grace"


async def test_a_second_tab_enters_a_full_room(world: SeatWorld) -> None:
    await enter(world.node("n1"), ANNE, BOB, max_members=2)
    assert (await world.node("n2").admit(ROOM, ANNE, max_members=2, ticket_id=None)).outcome == "admitted"


async def test_a_user_who_returns_within_the_grace_has_not_arrived_again(world: SeatWorld) -> None:
    await enter(world.node("n1"), ANNE, BOB, max_members=2)
    await world.node("n1").leave(ROOM, ANNE.user_id)
    assert (await world.node("n1").admit(ROOM, CARL, max_members=2, ticket_id=None)).outcome == "room_full"

    back = await world.node("n2").admit(ROOM, ANNE, max_members=2, ticket_id=None)
    assert (back.outcome, back.arrived) == ("admitted", False)
    await world.expire_graces()
    assert await world.node("n1").sweep() == []


async def test_one_sweep_reports_a_seat_whose_grace_ended(world: SeatWorld) -> None:
    await enter(world.node("n1"), ANNE, BOB)
    await world.node("n1").leave(ROOM, ANNE.user_id)
    assert await world.node("n2").sweep() == []
    await world.expire_graces()

    [gone] = await world.node("n2").sweep()
    assert (gone.room_id, gone.user_id, gone.color, gone.outcome, gone.occupancy) == (
        ROOM,
        ANNE.user_id,
        ANNE.color,
        "gone",
        1,
    )
    assert await world.node("n1").sweep() == []


async def test_seats_of_a_node_with_an_expired_lease_are_swept(world: SeatWorld) -> None:
    await enter(world.node("dead"), ANNE, BOB)
    await enter(world.node("alive"), BOB, CARL)
    await world.expire_leases("dead")

    assert [departure.user_id for departure in await world.node("alive").sweep()] == [ANNE.user_id]
    assert await members(world) == 2
    assert await world.node("dead").renew() == {ROOM}
    assert await world.node("alive").renew() == set()


async def test_admission_reaps_a_dead_nodes_seats_and_the_next_sweep_reports_them(world: SeatWorld) -> None:
    await enter(world.node("dead"), ANNE, BOB, max_members=2)
    await world.expire_leases("dead")

    admission = await world.node("alive").admit(ROOM, CARL, max_members=2, ticket_id=None)
    assert (admission.outcome, admission.occupancy) == ("admitted", 1)
    assert {departure.user_id for departure in await world.node("alive").sweep()} == {ANNE.user_id, BOB.user_id}
    assert await world.node("alive").sweep() == []


async def test_admission_reaps_seats_whose_grace_ended(world: SeatWorld) -> None:
    await enter(world.node("n1"), ANNE, BOB, max_members=2)
    await world.node("n1").leave(ROOM, ANNE.user_id)
    await world.expire_graces()
    assert (await world.node("n1").admit(ROOM, CARL, max_members=2, ticket_id=None)).outcome == "admitted"


async def test_renewing_in_time_keeps_the_seats(world: SeatWorld) -> None:
    await enter(world.node("n1"), ANNE)
    await world.expire_leases("n1")
    assert await world.node("n1").renew() == set()
    assert await world.node("n2").sweep() == []
    assert await members(world) == 1


async def test_a_removed_user_loses_the_seat_without_a_grace_at_the_last_node(world: SeatWorld) -> None:
    await enter(world.node("n1"), ANNE, ANNE, BOB)
    await enter(world.node("n2"), ANNE)
    assert world.node("n1").holds(ROOM, ANNE.user_id)
    assert (await world.node("n1").remove(ROOM, ANNE.user_id)).outcome == "held"
    assert not world.node("n1").holds(ROOM, ANNE.user_id)
    removal = await world.node("n2").remove(ROOM, ANNE.user_id)
    assert (removal.outcome, removal.color, removal.occupancy) == ("gone", ANNE.color, 1)
    assert (await world.node("n2").leave(ROOM, ANNE.user_id)).outcome == "absent"
    assert (await world.node("n1").remove(ROOM, ANNE.user_id)).outcome == "absent"
    assert await world.node("n1").renew() == set()
    assert await world.node("n2").renew() == set()
    assert await members(world) == 1


async def test_a_late_removal_on_another_node_keeps_the_new_seat(world: SeatWorld) -> None:
    await enter(world.node("n1"), ANNE)
    await world.node("n1").remove(ROOM, ANNE.user_id)
    await enter(world.node("n1"), ANNE)
    assert (await world.node("n2").remove(ROOM, ANNE.user_id)).outcome == "held"
    assert await members(world) == 1


async def test_a_removal_does_not_cost_another_node_its_lease(world: SeatWorld) -> None:
    await enter(world.node("n2"), ANNE)
    await world.node("n1").remove(ROOM, ANNE.user_id)
    assert await world.node("n2").renew() == set()


async def test_a_ticket_is_used_once_and_a_refusal_does_not_use_it(world: SeatWorld) -> None:
    node = world.node("n1")
    await enter(node, ANNE, BOB, max_members=2)
    assert (await node.admit(ROOM, CARL, max_members=2, ticket_id="t")).outcome == "room_full"
    assert (await node.admit(ROOM, CARL, max_members=3, ticket_id="t")).outcome == "admitted"
    again = await world.node("n2").admit(ROOM, CARL, max_members=3, ticket_id="t")
    assert (again.outcome, again.occupancy) == ("ticket_used", 3)


async def test_after_a_flush_new_users_wait_and_seats_are_restored(world: SeatWorld) -> None:
    node = world.node("n1")
    await enter(node, ANNE, ANNE, BOB)
    await world.flush()

    refusal = await world.node("n2").admit(ROOM, CARL, max_members=10, ticket_id=None)
    assert refusal.outcome == "recovering"
    assert refusal.retry_after_s == pytest.approx(RECOVERING_S, abs=1)

    assert await node.renew() == {ROOM}
    assert await node.restore(ROOM, node.held(ROOM)) == 2
    assert await node.renew() == set()
    assert (await world.node("n2").admit(ROOM, ANNE, max_members=10, ticket_id=None)).arrived is False
    assert (await world.node("n2").admit(ROOM, CARL, max_members=10, ticket_id=None)).outcome == "recovering"

    await world.end_recovery()
    assert (await world.node("n2").admit(ROOM, CARL, max_members=10, ticket_id=None)).occupancy == 3


async def test_an_admission_after_a_flush_does_not_hide_the_lost_seats(world: SeatWorld) -> None:
    n1, n2 = world.node("n1"), world.node("n2")
    await enter(n1, ANNE, BOB)
    await enter(n2, ANNE)
    await world.flush()
    await n2.renew()
    await n2.restore(ROOM, n2.held(ROOM))

    await enter(n1, ANNE)
    assert await n1.renew() == {ROOM}
    assert await n1.restore(ROOM, n1.held(ROOM)) == 2
    assert await n1.renew() == set()


async def test_a_restored_seat_counts_its_sessions(world: SeatWorld) -> None:
    node = world.node("n1")
    await enter(node, ANNE, ANNE)
    await world.flush()
    await node.restore(ROOM, node.held(ROOM))
    assert (await node.leave(ROOM, ANNE.user_id)).outcome == "held"
    assert (await node.leave(ROOM, ANNE.user_id)).outcome == "grace"


async def test_a_late_node_gets_back_only_seats_that_are_free(world: SeatWorld) -> None:
    late, other = world.node("late"), world.node("other")
    await enter(late, ANNE, BOB, max_members=2)
    await world.expire_leases("late")
    await other.sweep()
    await enter(other, CARL, max_members=2)

    assert await late.renew() == {ROOM}
    readmission = await late.readmit(ROOM, late.held(ROOM), max_members=2, owner_id=None)
    assert readmission.outcome == "readmitted"
    assert len(readmission.refused) == 1
    assert readmission.occupancy == 2
    assert {who.user_id for who in late.held(ROOM)} == {ANNE.user_id, BOB.user_id} - set(readmission.refused)
    assert await late.renew() == set()


async def test_a_late_node_waits_for_the_seats_of_the_others_after_a_flush(world: SeatWorld) -> None:
    late, other = world.node("late"), world.node("other")
    await enter(late, ANNE, max_members=2)
    await enter(other, BOB, CARL, max_members=3)
    await world.flush()
    readmission = await late.readmit(ROOM, late.held(ROOM), max_members=2, owner_id=None)
    assert readmission.outcome == "recovering"
    assert readmission.retry_after_s == pytest.approx(RECOVERING_S - READMISSION_S, abs=1)
    assert await late.renew() == {ROOM}
    await other.restore(ROOM, other.held(ROOM))
    await world.end_recovery()
    assert (await late.readmit(ROOM, late.held(ROOM), max_members=2, owner_id=None)).refused == {ANNE.user_id}


async def test_a_late_node_gets_its_seats_before_new_users_are_admitted(world: SeatWorld) -> None:
    late, other = world.node("late"), world.node("other")
    await enter(late, ANNE, BOB, max_members=2)
    await world.flush()
    assert await late.renew() == {ROOM}
    await other.recovering_for_s()
    await world.allow_readmission()
    assert (await other.admit(ROOM, CARL, max_members=2, ticket_id=None)).outcome == "recovering"
    readmission = await late.readmit(ROOM, late.held(ROOM), max_members=2, owner_id=None)
    assert (readmission.outcome, readmission.refused, readmission.occupancy) == ("readmitted", set(), 2)
    assert await late.renew() == set()
    await world.end_recovery()
    assert (await other.admit(ROOM, CARL, max_members=2, ticket_id=None)).outcome == "room_full"


async def test_the_seats_of_a_stopped_node_are_held_for_their_grace(world: SeatWorld) -> None:
    await enter(world.node("n1"), ANNE, ANNE, BOB)
    await enter(world.node("n1"), CARL, room_id=OTHER_ROOM)
    await enter(world.node("n2"), BOB)
    await world.node("n1").release_node()
    assert await world.node("n1").renew() == set()
    assert (await members(world), await members(world, OTHER_ROOM)) == (2, 1)

    await world.expire_graces()
    gone = await world.node("n2").sweep()
    assert {(departure.room_id, departure.user_id) for departure in gone} == {
        (ROOM, ANNE.user_id),
        (OTHER_ROOM, CARL.user_id),
    }


async def test_the_seats_of_an_address_are_counted_over_all_nodes(world: SeatWorld) -> None:
    n1, n2 = world.node("n1"), world.node("n2")
    assert await n1.count_address("203.0.113.7", 3, kept_s=60) == 3
    assert await n2.count_address("203.0.113.7", 4, kept_s=60) == 7
    assert await n1.count_address("203.0.113.7", 1, kept_s=60) == 5
    assert await n2.count_address("2001:db8::", 2, kept_s=60) == 2
    assert await n1.count_address("203.0.113.7", 9, kept_s=0) == 13
    assert await n2.count_address("203.0.113.7", 4, kept_s=60) == 4, "a number counts for its time only"


async def test_a_users_grant_is_found(world: SeatWorld) -> None:
    node, grant = world.node("n1"), Grant(3, datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC))
    assert await node.grant(ROOM, ANNE.user_id) is None
    await world.grant(ROOM, ANNE.user_id, grant)
    assert await node.grant(ROOM, ANNE.user_id) == grant
    assert await node.grant(ROOM, BOB.user_id) is None


async def test_a_query_starts_the_recovery_after_a_flush(world: SeatWorld) -> None:
    node = world.node("n1")
    assert await node.recovering_for_s() == 0
    await world.flush()
    assert await node.recovering_for_s() == pytest.approx(RECOVERING_S, abs=1)
    await world.end_recovery()
    assert await node.recovering_for_s() == 0


async def test_leaving_a_room_without_a_seat_is_a_no_op(world: SeatWorld) -> None:
    departure = await world.node("n1").leave(ROOM, ANNE.user_id)
    assert (departure.outcome, departure.occupancy, departure.color) == ("absent", 0, "")


async def test_a_refresh_keeps_the_seat_when_leave_and_join_race(world: SeatWorld) -> None:
    node = world.node("n1")
    await enter(node, ANNE)
    for _ in range(20):
        await asyncio.gather(node.leave(ROOM, ANNE.user_id), node.admit(ROOM, ANNE, max_members=1, ticket_id=None))
        await world.expire_graces()
        assert await node.sweep() == []
    assert dict(node.held(ROOM)) == {ANNE: 1}


async def test_while_the_store_is_down_calls_raise_and_leaves_are_settled_later() -> None:
    world = FakeSeatWorld()
    node = world.node("n1")
    await enter(node, ANNE, BOB)
    world.store.down = True
    for call in (
        node.admit(ROOM, CARL, max_members=9, ticket_id=None),
        node.leave(ROOM, ANNE.user_id),
        node.renew(),
        node.sweep(),
    ):
        with pytest.raises(SeatsUnavailableError):
            await call
    world.store.down = False
    await node.renew()
    await world.expire_graces()
    assert [departure.user_id for departure in await node.sweep()] == [ANNE.user_id]
