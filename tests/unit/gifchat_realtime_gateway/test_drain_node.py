import asyncio
from collections import Counter
from collections.abc import Collection, Coroutine
from dataclasses import dataclass
from math import ceil
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gifchat_contracts import limits
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_realtime_gateway.domain.drain import WAVE_S
from gifchat_realtime_gateway.use_cases.check_ready import CheckReady
from gifchat_realtime_gateway.use_cases.drain_node import RECONNECT_S, DrainNode
from gifchat_testkit.gateway_nodes import FakeCluster, now_s
from gifchat_testkit.virtual_time import VirtualTimeLoop, settle

ROOM = RoomId("a" * 24)
ANNE = Identity(UserId("1" * 24), "#111111")


class Connections:
    """Engine.IO connections that record when each was closed."""

    def __init__(self, count: int) -> None:
        self.open = {f"c{number:03}" for number in range(count)}
        self.closed_at_s: list[float] = []

    def connections(self) -> Collection[str]:
        return list(self.open)

    async def close_connection(self, connection: str) -> None:
        await asyncio.sleep(0)
        if connection in self.open:
            self.open.discard(connection)
            self.closed_at_s.append(now_s())


async def test_connections_are_moved_in_waves_within_the_time(cluster: FakeCluster) -> None:
    connections = Connections(300)
    drain = DrainNode(connections, cluster.new_node("n1").seats, over_s=3.0)
    began_at_s = now_s()
    assert not drain.draining
    draining = asyncio.create_task(drain.drain())
    await asyncio.sleep(0)
    assert drain.draining
    await draining
    assert connections.open == set()
    assert now_s() - began_at_s == pytest.approx(3.0, abs=2 * WAVE_S)
    for second in range(3):
        moved = [at_s for at_s in connections.closed_at_s if second <= at_s - began_at_s < second + 1]
        assert 80 <= len(moved) <= 120


async def test_a_node_without_connections_is_drained_at_once(cluster: FakeCluster) -> None:
    began_at_s = now_s()
    await DrainNode(Connections(0), cluster.new_node("n1").seats, over_s=30.0).drain()
    assert now_s() - began_at_s < 1


async def test_a_connection_that_arrives_during_the_drain_is_moved_too(cluster: FakeCluster) -> None:
    connections = Connections(50)
    drain = DrainNode(connections, cluster.new_node("n1").seats, over_s=1.0)
    draining = asyncio.create_task(drain.drain())
    await asyncio.sleep(0.5)
    connections.open.add("late")
    await draining
    assert connections.open == set()


async def test_drained_seats_are_kept_for_their_grace(cluster: FakeCluster) -> None:
    cluster.api.create(ROOM)
    async with cluster.node("n1") as node, cluster.node("n2") as other:
        await node.enter(ANNE, ROOM)
        await DrainNode(Connections(1), node.seats, over_s=0.0).drain()
        assert not node.seats.held(ROOM)
        assert set(cluster.seats.members[ROOM]) == {ANNE.user_id}
        await asyncio.sleep(limits.SEAT_GRACE_S - 1)
        _, joined = await other.enter(ANNE, ROOM)
        assert joined.occupancy == 1


async def test_a_node_drains_while_redis_is_down(cluster: FakeCluster) -> None:
    connections = Connections(3)
    node = cluster.new_node("n1")
    cluster.set_down({"seats"})
    await DrainNode(connections, node.seats, over_s=0.1).drain()
    assert connections.open == set()


async def test_two_drain_calls_share_one_drain(cluster: FakeCluster) -> None:
    connections = Connections(30)
    drain = DrainNode(connections, cluster.new_node("n1").seats, over_s=3.0)
    began_at_s = now_s()
    await asyncio.gather(drain.drain(), drain.drain())
    assert len(connections.closed_at_s) == 30
    assert now_s() - began_at_s < 4


async def test_shedding_moves_a_random_share_of_the_connections(cluster: FakeCluster) -> None:
    connections = Connections(100)
    drain = DrainNode(connections, cluster.new_node("n1").seats, over_s=1.0)
    await drain.shed(0.3)
    assert len(connections.open) == 70
    assert not drain.draining
    assert not drain.moving
    # The choice is random.
    assert connections.open != {f"c{number:03}" for number in range(70)}
    assert connections.open != {f"c{number:03}" for number in range(30, 100)}
    await drain.shed(1.0)
    assert connections.open == set()


async def test_new_connections_are_refused_until_shed_clients_have_reconnected(cluster: FakeCluster) -> None:
    connections = Connections(10)
    drain = DrainNode(connections, cluster.new_node("n1").seats, over_s=1.0)
    shedding = asyncio.create_task(drain.shed(0.5))
    while len(connections.open) > 5:
        await asyncio.sleep(0.05)
        assert drain.moving
    # The official client makes its first attempt to reconnect within 1.5 s.
    await asyncio.sleep(1.5)
    assert drain.moving
    await shedding
    assert not drain.moving


async def test_a_node_is_ready_when_it_hears_and_no_partition_recovers(cluster: FakeCluster) -> None:
    node = cluster.new_node("n1")
    draining, hears = False, False
    ready = CheckReady(node.seats, draining=lambda: draining, hears=lambda: hears)
    assert await ready.status() == "deaf"
    hears = True
    cluster.seats.flush()
    assert await ready.status() == "recovering"
    cluster.seats.down = True
    assert await ready.status() == "recovering"
    cluster.seats.down = False
    await asyncio.sleep(limits.RECOVERING_S + 0.1)
    assert await ready.status() == "ok"
    cluster.seats.flush()
    assert await ready.status() == "ok", "members are not affected"
    hears = False
    assert await ready.status() == "deaf"
    draining = True
    assert await ready.status() == "draining"


class CountedConnections(Connections):
    """Counts how often each connection is closed, and how many are closed at each moment."""

    def __init__(self) -> None:
        super().__init__(0)
        self.times: Counter[str] = Counter()
        self.at_one_moment: Counter[float] = Counter()

    async def close_connection(self, connection: str) -> None:
        self.times[connection] += 1
        self.at_one_moment[now_s()] += 1
        await super().close_connection(connection)


@dataclass
class Move:
    """A call that moves connections, and the connections that were open when it began."""

    began_at_s: float
    share: float
    here: frozenset[str]
    task: asyncio.Task[None]

    def largest_wave(self, over_s: float) -> int:
        count = ceil(len(self.here) * self.share)
        return ceil(count / max(1, min(count, round(over_s / WAVE_S))))


class DrainModel(RuleBasedStateMachine):
    """The model has the open connections and the moves. Time passes only in `let_time_pass`."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.connections = CountedConnections()
        self.opened = 0
        self.moves: list[Move] = []
        self.draining: Move | None = None

    @initialize(count=st.integers(0, 60), over_s=st.sampled_from([0.0, 0.3, 1.0, 3.0]), redis_away=st.booleans())
    def begin(self, count: int, over_s: float, redis_away: bool) -> None:
        self.over_s = over_s
        self.open_connections(count)

        async def begin() -> None:
            cluster = FakeCluster()
            cluster.seats.down = redis_away
            self.drain = DrainNode(self.connections, cluster.new_node("n1").seats, over_s)

        self.runner.run(begin())

    def start(self, share: float, moving: Coroutine[Any, Any, None]) -> Move:
        here = frozenset(self.connections.open)

        async def start() -> Move:
            began_at_s, task = now_s(), asyncio.create_task(moving)
            await settle()
            return Move(began_at_s, share, here, task)

        return self.runner.run(start())

    def now_s(self) -> float:
        return self.runner.get_loop().time()

    def open_connections(self, count: int) -> None:
        self.connections.open.update(f"c{number}" for number in range(self.opened, self.opened + count))
        self.opened += count

    @rule(count=st.integers(1, 40))
    def connect(self, count: int) -> None:
        if not self.drain.moving:
            self.open_connections(count)

    @precondition(lambda self: self.connections.open)
    @rule(which=st.integers(0, 100))
    def disconnect(self, which: int) -> None:
        here = sorted(self.connections.open)
        self.connections.open.discard(here[which % len(here)])

    @rule(share=st.sampled_from([0.0, 0.3, 1.0]))
    def shed(self, share: float) -> None:
        self.moves.append(self.start(share, self.drain.shed(share)))

    @rule(late=st.integers(0, 3))
    def begin_to_drain(self, late: int) -> None:
        """Start to drain, then open connections that were accepted before. A second drain starts nothing."""
        move = self.start(1.0, self.drain.drain())
        if self.draining is None:
            self.draining = move
            self.moves.append(move)
            self.open_connections(0 if move.task.done() else late)
        assert move.task.done() == self.draining.task.done()

    @rule(passed_s=st.sampled_from([0.05, WAVE_S, 0.5, RECONNECT_S, 6.0]))
    def let_time_pass(self, passed_s: float) -> None:
        self.runner.run(asyncio.sleep(passed_s))

    @invariant()
    def one_move_closes_no_connection_twice(self) -> None:
        for connection, times in self.connections.times.items():
            moves = sum(connection in move.here for move in self.moves)
            # The end of the drain closes those that arrived during it, even if another move closes them too.
            late = self.draining is not None and connection not in self.draining.here
            assert times <= max(1, moves + late)

    @invariant()
    def connections_are_closed_in_waves(self) -> None:
        """Connections that arrived during the drain are all closed at once, after the last wave."""
        waves = sum(move.largest_wave(self.over_s) for move in self.moves)
        late = self.opened - len(self.draining.here) if self.draining else 0
        assert max(self.connections.at_one_moment.values(), default=0) <= max(waves, late)

    @invariant()
    def every_move_moves_its_share_and_ends_in_time(self) -> None:
        for move in self.moves:
            moved = {connection for connection in move.here if connection not in self.connections.open}
            if self.now_s() > move.began_at_s + self.over_s + 2 * WAVE_S:
                assert len(moved) >= len(move.here) * move.share
            if self.now_s() > move.began_at_s + self.over_s + 2 * WAVE_S + RECONNECT_S:
                assert move.task.done()
                assert move.task.exception() is None

    @invariant()
    def a_drained_node_stays_empty(self) -> None:
        if self.draining and self.now_s() > self.draining.began_at_s + self.over_s + 2 * WAVE_S:
            assert self.draining.task.done()
            assert self.connections.open == set()

    @invariant()
    def moved_clients_are_refused_when_they_reconnect(self) -> None:
        if not hasattr(self, "drain"):
            return
        assert self.drain.draining == (self.draining is not None)
        ages_s = [self.now_s() - move.began_at_s for move in self.moves]
        if self.draining or any(age_s < RECONNECT_S for age_s in ages_s):
            assert self.drain.moving
        elif all(age_s > self.over_s + 2 * WAVE_S + RECONNECT_S for age_s in ages_s):
            assert not self.drain.moving, "the node accepts connections again"

    def teardown(self) -> None:
        self.runner.close()


TestDrainModel = DrainModel.TestCase
TestDrainModel.settings = settings(TestDrainModel.settings, max_examples=50, stateful_step_count=25)
