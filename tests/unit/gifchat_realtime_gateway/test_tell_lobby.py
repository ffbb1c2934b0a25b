import asyncio
from collections.abc import AsyncIterator

import pytest

from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.events import body
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_realtime_gateway.use_cases.tell_lobby import PERIOD_S
from gifchat_testkit.gateway_nodes import FakeCluster, FakeNode
from gifchat_testkit.virtual_time import settle

ROOM, OTHER_ROOM = RoomId("a" * 24), RoomId("b" * 24)
ANNE = Identity(UserId("1" * 24), "#111111")


@pytest.fixture
async def node(cluster: FakeCluster) -> AsyncIterator[FakeNode]:
    async with cluster.node("n1") as node:
        node.sockets.lobby["visitor"] = []
        yield node


def occupancy(**members: int) -> Frame:
    return Frame(Kind.OCCUPANCY, body("occupancy", {letter * 24: number for letter, number in members.items()}))


@pytest.mark.parametrize(
    ("kind", "event", "payload"),
    [
        (Kind.NEW_ROOM, "newRoom", {"_id": ROOM}),
        (Kind.ROOM_REMOVED, "removeRoom", ROOM),
    ],
)
async def test_new_and_removed_rooms_are_sent_at_once(
    cluster: FakeCluster, node: FakeNode, kind: Kind, event: str, payload: object
) -> None:
    cluster.tell_lobby(Frame(kind, body(event, payload)))
    await settle()
    assert node.sockets.lobby["visitor"] == [(event, payload)]


async def test_other_kinds_do_not_reach_the_lobby(cluster: FakeCluster, node: FakeNode) -> None:
    cluster.tell_lobby(*(Frame(kind, b"") for kind in (Kind.CANARY, Kind.JOIN, Kind.SANCTION)))
    cluster.tell_lobby(Frame(Kind.NEW_ROOM, body("newRoom", {"_id": ROOM})))
    await settle()
    assert node.sockets.lobby["visitor"] == [("newRoom", {"_id": ROOM})]


async def test_the_occupancies_of_all_nodes_are_one_event_per_period(cluster: FakeCluster, node: FakeNode) -> None:
    cluster.tell_lobby(occupancy(a=1), occupancy(b=5), occupancy(a=2))
    await settle()
    assert node.sockets.lobby["visitor"] == []
    await asyncio.sleep(PERIOD_S)
    assert node.sockets.lobby["visitor"] == [("occupancy", {ROOM: 2, OTHER_ROOM: 5})]
    await asyncio.sleep(5 * PERIOD_S)
    assert len(node.sockets.lobby["visitor"]) == 1


async def test_the_lobby_gets_at_most_one_change_of_a_room_per_period(cluster: FakeCluster, node: FakeNode) -> None:
    def changed(room_id: RoomId, title: str) -> Frame:
        return Frame(Kind.ROOM_CHANGED, body("roomChanged", {"_id": room_id, "title": title}))

    cluster.tell_lobby(changed(ROOM, "one"), changed(OTHER_ROOM, "other"), changed(ROOM, "two"))
    await settle()
    assert node.sockets.lobby["visitor"] == []
    await asyncio.sleep(PERIOD_S)
    titles = [payload["title"] for _, payload in node.sockets.lobby["visitor"]]
    assert titles == ["two", "other"]
    await asyncio.sleep(5 * PERIOD_S)
    assert len(node.sockets.lobby["visitor"]) == 2


async def test_a_removed_room_is_not_announced_as_changed(cluster: FakeCluster, node: FakeNode) -> None:
    cluster.tell_lobby(Frame(Kind.ROOM_CHANGED, body("roomChanged", {"_id": ROOM})))
    cluster.tell_lobby(Frame(Kind.ROOM_REMOVED, body("removeRoom", ROOM)))
    await asyncio.sleep(2 * PERIOD_S)
    assert node.sockets.lobby["visitor"] == [("removeRoom", ROOM)]


async def test_the_occupancy_of_a_removed_room_is_dropped(cluster: FakeCluster, node: FakeNode) -> None:
    cluster.tell_lobby(occupancy(a=1), Frame(Kind.ROOM_REMOVED, body("removeRoom", ROOM)))
    await asyncio.sleep(2 * PERIOD_S)
    assert node.sockets.lobby["visitor"] == [("removeRoom", ROOM)]


async def test_a_hosted_room_knows_its_members_on_all_nodes(cluster: FakeCluster, node: FakeNode) -> None:
    cluster.api.create(ROOM)
    await node.enter(ANNE, ROOM)
    cluster.tell_lobby(occupancy(a=70, b=9))
    await settle()
    assert node.rooms[ROOM].occupancy == 70


async def test_the_lobby_gets_the_members_of_any_node(cluster: FakeCluster, node: FakeNode) -> None:
    cluster.api.create(ROOM)
    async with cluster.node("n2") as other:
        await other.enter(ANNE, ROOM)
        await asyncio.sleep(3 * PERIOD_S)
        assert node.sockets.lobby["visitor"] == [("occupancy", {ROOM: 1})]
