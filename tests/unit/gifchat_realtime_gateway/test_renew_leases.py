"""When a node may rely on its seats, with a test clock and fake seats."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field

import pytest

from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import NodeId, RoomId, UserId
from gifchat_realtime_gateway.ports import SeatsUnavailableError
from gifchat_realtime_gateway.use_cases.renew_leases import RETRY_AFTER_S, RenewLeases
from gifchat_testkit.fakes.seats import FakeSeats, SeatStore
from gifchat_testkit.virtual_time import VirtualTimeLoop

ROOM, OTHER_ROOM = RoomId("a" * 24), RoomId("b" * 24)
ANNE, BOB, CARL = (Identity(UserId(digit * 24), f"#{digit * 6}") for digit in "123")
LEASE_TTL_S, GRACE_S, RECOVERING_S = 10.0, 10.0, 11.0


@dataclass
class Sessions:
    evicted: list[tuple[RoomId, frozenset[UserId]]] = field(default_factory=list)

    def max_members(self, room_id: RoomId) -> int:
        return 2

    def owner_id(self, room_id: RoomId) -> UserId | None:
        return None

    async def evict(self, room_id: RoomId, user_ids: Collection[UserId]) -> None:
        self.evicted.append((room_id, frozenset(user_ids)))


class Cluster:
    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.store = SeatStore(lambda: self.now_s)
        self.here, self.there = (
            FakeSeats(self.store, NodeId(name), LEASE_TTL_S, GRACE_S, RECOVERING_S) for name in ("here", "there")
        )
        self.sessions = Sessions()
        self.leases = RenewLeases(
            self.here, self.sessions, lease_ttl_s=LEASE_TTL_S, period_s=3.0, clock=lambda: self.now_s
        )


async def enter(node: FakeSeats, *users: Identity, room_id: RoomId = ROOM) -> None:
    for who in users:
        assert (await node.admit(room_id, who, max_members=2, ticket_id=None)).outcome == "admitted"


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


async def test_seats_are_valid_while_renewals_succeed(cluster: Cluster) -> None:
    await enter(cluster.here, ANNE)
    for _ in range(10):
        cluster.now_s += 3
        await cluster.leases.renew()
        assert await cluster.there.sweep() == []
        assert cluster.leases.seats_valid


async def test_seats_are_invalid_one_lease_after_the_last_renewal(cluster: Cluster) -> None:
    await enter(cluster.here, ANNE)
    await cluster.leases.renew()
    cluster.store.down = True
    cluster.now_s += LEASE_TTL_S - 0.1
    with pytest.raises(SeatsUnavailableError):
        await cluster.leases.renew()
    assert cluster.leases.seats_valid
    cluster.now_s += 0.1
    assert not cluster.leases.seats_valid
    assert not cluster.leases.serves(ROOM)


class Silent(FakeSeats):
    async def renew(self) -> Collection[RoomId]:
        await asyncio.Event().wait()
        return ()


async def test_a_renewal_without_an_answer_times_out(cluster: Cluster) -> None:
    silent = Silent(cluster.store, NodeId("silent"), LEASE_TTL_S, GRACE_S, RECOVERING_S)
    leases = RenewLeases(silent, cluster.sessions, period_s=0.01)
    with pytest.raises(SeatsUnavailableError):
        await leases.renew()


async def test_a_failed_renewal_is_retried_early(cluster: Cluster) -> None:
    await enter(cluster.here, ANNE)
    cluster.store.down = True
    cluster.now_s += 60
    running = asyncio.create_task(cluster.leases.run())
    try:
        await asyncio.sleep(0)
        cluster.store.down = False
        async with asyncio.timeout(2 * RETRY_AFTER_S):
            while not cluster.leases.seats_valid:
                await asyncio.sleep(0.01)
    finally:
        running.cancel()


async def test_a_late_node_that_was_not_swept_keeps_its_seats(cluster: Cluster) -> None:
    await enter(cluster.here, ANNE)
    cluster.now_s += 60
    assert not cluster.leases.seats_valid
    await cluster.leases.renew()
    assert cluster.leases.seats_valid
    assert await cluster.there.sweep() == []


async def test_a_late_node_evicts_users_whose_seats_were_taken(cluster: Cluster) -> None:
    await enter(cluster.here, ANNE, BOB)
    cluster.now_s += 60
    await cluster.there.sweep()
    await enter(cluster.there, CARL, BOB)
    assert not cluster.leases.serves(ROOM)

    await cluster.leases.renew()
    assert cluster.sessions.evicted == [(ROOM, frozenset({ANNE.user_id}))]
    assert dict(cluster.here.held(ROOM)) == {BOB: 1}
    assert cluster.leases.serves(ROOM)
    assert len(cluster.store.members[ROOM]) == 2


async def test_a_node_in_time_restores_its_seats_after_a_flush(cluster: Cluster) -> None:
    await enter(cluster.here, ANNE, BOB)
    cluster.store.flush()
    cluster.now_s += 3
    assert cluster.leases.seats_valid
    await cluster.leases.renew()
    assert cluster.leases.seats_valid
    assert set(cluster.store.members[ROOM]) == {ANNE.user_id, BOB.user_id}
    assert cluster.sessions.evicted == []


def test_a_late_node_asks_for_its_seats_before_new_users_are_admitted() -> None:
    lease_ttl_s, recovering_s, readmission_s, period_s = 10.0, 12.5, 1.5, 3.0

    async def away_for_long() -> None:
        clock = asyncio.get_running_loop().time
        store = SeatStore(clock)
        here, there = (
            FakeSeats(store, NodeId(name), lease_ttl_s, GRACE_S, recovering_s, readmission_s=readmission_s)
            for name in "ht"
        )
        leases = RenewLeases(here, Sessions(), lease_ttl_s=lease_ttl_s, period_s=period_s, clock=clock)
        await enter(here, ANNE, BOB)
        store.down = True
        running = asyncio.create_task(leases.run())
        await asyncio.sleep(20)
        store.flush()
        store.down = False
        back_at_s = clock()
        while (carl := await there.admit(ROOM, CARL, max_members=2, ticket_id=None)).outcome == "recovering":
            assert set(store.members[ROOM]) <= {ANNE.user_id, BOB.user_id}
            await asyncio.sleep(carl.retry_after_s or 0)
        assert carl.outcome == "room_full"
        assert clock() - back_at_s == pytest.approx(recovering_s)
        assert leases.serves(ROOM)
        running.cancel()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(away_for_long())


async def test_a_late_node_waits_until_redis_has_recovered(cluster: Cluster) -> None:
    await enter(cluster.here, ANNE)
    await enter(cluster.here, CARL, room_id=OTHER_ROOM)
    cluster.store.flush()
    cluster.now_s += 30
    await cluster.leases.renew()
    assert not cluster.leases.serves(ROOM)

    await cluster.here.leave(OTHER_ROOM, CARL.user_id)
    cluster.now_s += RECOVERING_S
    await cluster.leases.renew()
    assert cluster.leases.serves(ROOM)
    assert cluster.leases.seats_valid
    assert set(cluster.store.members[ROOM]) == {ANNE.user_id}
