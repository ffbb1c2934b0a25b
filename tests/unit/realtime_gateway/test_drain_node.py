import asyncio
from collections.abc import Collection

import pytest

from gifchat_testkit.gateway_nodes import FakeCluster, now_s
from realtime_gateway.domain.drain import WAVE_S
from realtime_gateway.use_cases.check_ready import CheckReady
from realtime_gateway.use_cases.drain_node import DrainNode
from room_contracts import limits
from room_contracts.identity import Identity
from room_contracts.ids import RoomId, UserId

ROOM = RoomId("a" * 24)
ANNE = Identity(UserId("1" * 24), "#111111")


class Connections:
    """Engine.IO connections; when each was closed is remembered."""

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


async def test_sockets_are_moved_in_waves_within_the_time(cluster: FakeCluster) -> None:
    connections = Connections(300)
    drain = DrainNode(connections, cluster.new_node("n1").occupancy, over_s=3.0)
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


async def test_without_sockets_a_node_is_drained_at_once(cluster: FakeCluster) -> None:
    began_at_s = now_s()
    await DrainNode(Connections(0), cluster.new_node("n1").occupancy, over_s=30.0).drain()
    assert now_s() - began_at_s < 1


async def test_who_came_in_by_the_closing_door_is_moved_too(cluster: FakeCluster) -> None:
    connections = Connections(50)
    drain = DrainNode(connections, cluster.new_node("n1").occupancy, over_s=1.0)
    draining = asyncio.create_task(drain.drain())
    await asyncio.sleep(0.5)
    connections.open.add("late")
    await draining
    assert connections.open == set()


async def test_seats_stay_in_their_grace(cluster: FakeCluster) -> None:
    cluster.api.create(ROOM)
    async with cluster.node("n1") as node, cluster.node("n2") as other:
        await node.enter(ANNE, ROOM)
        await DrainNode(Connections(1), node.occupancy, over_s=0.0).drain()
        assert not node.occupancy.held(ROOM)
        assert set(cluster.seats.members[ROOM]) == {ANNE.user_id}
        await asyncio.sleep(limits.SEAT_GRACE_S - 1)
        _, joined = await other.enter(ANNE, ROOM)
        assert joined.occupancy == 1


async def test_a_node_ends_without_redis_too(cluster: FakeCluster) -> None:
    connections = Connections(3)
    node = cluster.new_node("n1")
    cluster.away({"seats"})
    await DrainNode(connections, node.occupancy, over_s=0.1).drain()
    assert connections.open == set()


async def test_to_drain_twice_is_to_drain_once_and_both_wait(cluster: FakeCluster) -> None:
    connections = Connections(30)
    drain = DrainNode(connections, cluster.new_node("n1").occupancy, over_s=3.0)
    began_at_s = now_s()
    await asyncio.gather(drain.drain(), drain.drain())
    assert len(connections.closed_at_s) == 30
    assert now_s() - began_at_s < 4


async def test_a_share_of_the_sockets_is_shed_and_the_node_goes_on(cluster: FakeCluster) -> None:
    connections = Connections(100)
    drain = DrainNode(connections, cluster.new_node("n1").occupancy, over_s=1.0)
    await drain.shed(0.3)
    assert len(connections.open) == 70
    assert not drain.draining
    assert not drain.moving
    # Not always the same ones.
    assert connections.open != {f"c{number:03}" for number in range(70)}
    assert connections.open != {f"c{number:03}" for number in range(30, 100)}
    await drain.shed(1.0)
    assert connections.open == set()


async def test_who_is_shed_does_not_come_back(cluster: FakeCluster) -> None:
    connections = Connections(10)
    drain = DrainNode(connections, cluster.new_node("n1").occupancy, over_s=1.0)
    shedding = asyncio.create_task(drain.shed(0.5))
    while len(connections.open) > 5:
        await asyncio.sleep(0.05)
        assert drain.moving
    # The official client's first attempt comes within 1.5 s.
    await asyncio.sleep(1.5)
    assert drain.moving
    await shedding
    assert not drain.moving


async def test_a_node_is_ready_when_it_hears_and_seats_are_settled(cluster: FakeCluster) -> None:
    node = cluster.new_node("n1")
    draining, hears = False, False
    ready = CheckReady(node.occupancy, draining=lambda: draining, hears=lambda: hears)
    assert await ready.status() == "deaf"
    hears = True
    cluster.seats.flush()
    assert await ready.status() == "recovering"
    cluster.seats.away = True
    assert await ready.status() == "recovering"
    cluster.seats.away = False
    await asyncio.sleep(limits.RECOVERING_S + 0.1)
    assert await ready.status() == "ok"
    cluster.seats.flush()
    assert await ready.status() == "ok", "who is here stays"
    hears = False
    assert await ready.status() == "deaf"
    draining = True
    assert await ready.status() == "draining"
