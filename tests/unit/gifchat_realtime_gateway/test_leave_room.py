import asyncio

import pytest

from gifchat_contracts import limits
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_contracts.socket_events import Join
from gifchat_realtime_gateway.domain.session import Session
from gifchat_testkit.gateway_nodes import FakeCluster, FakeNode
from gifchat_testkit.virtual_time import settle

ROOM, OTHER_ROOM = RoomId("a" * 24), RoomId("b" * 24)
ANNE, BOB = Identity(UserId("1" * 24), "#111111"), Identity(UserId("2" * 24), "#222222")
GRACE_AND_SWEEP_S = limits.SEAT_GRACE_S + 2


def members(cluster: FakeCluster) -> set[UserId]:
    return set(cluster.seats.members[ROOM])


def exits(node: FakeNode, session: Session) -> list[UserId]:
    return [payload["user_id"] for payload in node.received(session, "exit")]


@pytest.fixture
async def rooms(cluster: FakeCluster) -> None:
    for room_id in (ROOM, OTHER_ROOM):
        cluster.api.create(room_id)


@pytest.mark.usefixtures("rooms")
async def test_a_departure_is_announced_after_the_grace(cluster: FakeCluster) -> None:
    async with cluster.node("n1") as node:
        anne, _ = await node.enter(ANNE, ROOM)
        bob, _ = await node.enter(BOB, ROOM)
        await node.leave.leave(bob, ROOM)
        cluster.publish(cluster.api.rooms[ROOM].say("secret", ANNE), to=ROOM)
        await settle()
        assert bob.rooms == set()
        assert node.received(bob, "chat") == []
        assert members(cluster) == {ANNE.user_id, BOB.user_id}
        assert exits(node, anne) == []

        await asyncio.sleep(GRACE_AND_SWEEP_S)
        assert members(cluster) == {ANNE.user_id}
        assert exits(node, anne) == [BOB.user_id]


@pytest.mark.usefixtures("rooms")
async def test_a_return_within_the_grace_is_not_announced(cluster: FakeCluster) -> None:
    async with cluster.node("n1") as node, cluster.node("n2") as other:
        anne, _ = await node.enter(ANNE, ROOM)
        bob, _ = await node.enter(BOB, ROOM)
        await settle()
        await node.leave.disconnected(bob)
        await asyncio.sleep(limits.SEAT_GRACE_S - 1)
        await other.enter(BOB, ROOM)
        await asyncio.sleep(3 * GRACE_AND_SWEEP_S)
        assert exits(node, anne) == []
        assert len(node.received(anne, "join")) == 1


@pytest.mark.usefixtures("rooms")
async def test_a_seat_is_kept_until_the_last_tab_leaves(cluster: FakeCluster) -> None:
    async with cluster.node("n1") as node:
        tabs = [(await node.enter(ANNE, ROOM))[0] for _ in range(2)]
        await node.leave.leave(tabs[0], ROOM)
        await asyncio.sleep(GRACE_AND_SWEEP_S)
        assert members(cluster) == {ANNE.user_id}
        await node.leave.leave(tabs[1], ROOM)
        await asyncio.sleep(GRACE_AND_SWEEP_S)
        assert members(cluster) == set()


@pytest.mark.usefixtures("rooms")
async def test_leaving_twice_is_a_no_op(cluster: FakeCluster) -> None:
    async with cluster.node("n1") as node:
        first, _ = await node.enter(ANNE, ROOM)
        await node.enter(ANNE, ROOM)
        for _ in range(3):
            await node.leave.leave(first, ROOM)
            await node.leave.leave(first, OTHER_ROOM)
        assert dict(node.seats.held(ROOM)) == {ANNE: 1}


@pytest.mark.usefixtures("rooms")
async def test_a_disconnect_leaves_every_room(cluster: FakeCluster) -> None:
    async with cluster.node("n1") as node:
        session, _ = await node.enter(ANNE, ROOM)
        await node.join.join(session, Join(OTHER_ROOM))
        await node.leave.disconnected(session)
        assert not session.connected
        assert session.rooms == set()
        for room_id in (ROOM, OTHER_ROOM):
            assert len(node.rooms[room_id].audience) == 0
            assert not node.seats.held(room_id)


@pytest.mark.usefixtures("rooms")
async def test_leaving_while_redis_is_down_is_settled_later(cluster: FakeCluster) -> None:
    async with cluster.node("n1") as node:
        session, _ = await node.enter(ANNE, ROOM)
        await node.enter(BOB, ROOM)
        cluster.set_down({"seats", "channels"})
        await node.leave.disconnected(session)
        assert session.rooms == set()
        assert set(node.rooms[ROOM].audience.sessions_of(ANNE.user_id)) == set()
        cluster.set_down(())
        await asyncio.sleep(limits.LEASE_RENEW_S + GRACE_AND_SWEEP_S)
        assert members(cluster) == {BOB.user_id}


@pytest.mark.usefixtures("rooms")
async def test_a_departure_without_a_grace_is_announced_at_once(cluster: FakeCluster) -> None:
    node = cluster.new_node("n1")
    node.seats._grace_s = 0
    anne, _ = await node.enter(ANNE, ROOM)
    bob, _ = await node.enter(BOB, ROOM)
    await node.leave.leave(bob, ROOM)
    await settle()
    assert exits(node, anne) == [BOB.user_id]
