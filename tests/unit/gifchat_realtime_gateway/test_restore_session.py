"""A reconnected client is back in its rooms, and gets the missed events if its position is known."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from gifchat_contracts.errors import Refused
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import Epoch, Pid, RoomId
from gifchat_contracts.position import Position
from gifchat_realtime_gateway.domain.room_record import FOREVER
from gifchat_realtime_gateway.domain.saved_session import SavedRoom, SavedSession
from gifchat_realtime_gateway.domain.session import Admitted, Session
from gifchat_realtime_gateway.ports import ToSave
from gifchat_realtime_gateway.use_cases.restore_session import RestoreSession
from gifchat_testkit.fakes.nodes import FakeNodes, NodeStore
from gifchat_testkit.fakes.saved_sessions import FakeSavedSessions
from gifchat_testkit.gateway_nodes import FakeCluster, FakeNode, now, now_s
from gifchat_testkit.virtual_time import settle

ROOM, OTHER_ROOM = RoomId("a" * 24), RoomId("b" * 24)
ANNE, BOB = Identity.of_session("anne"), Identity.of_session("bob")
TAG = "tag-one-"


class World:
    """One node and the saved sessions."""

    def __init__(self, cluster: FakeCluster, node: FakeNode) -> None:
        self.node = node
        self.stored = cluster.api.create(ROOM)
        cluster.api.create(OTHER_ROOM)
        for number in range(1, 4):
            self.stored.say(f"{number}", BOB)
        self.store = NodeStore()
        self.saved = FakeSavedSessions(now_s)
        self.restore = RestoreSession(self.saved, FakeNodes(self.store), node.join, node.sockets)
        self.refused: dict[RoomId, str] = {}
        self.admitted = Admitted(now() - timedelta(minutes=1), 1)

    def saved_session(self, rooms: Mapping[RoomId, Position | None], *, ended: bool = True) -> SavedSession:
        kept = {room_id: SavedRoom(self.admitted, position) for room_id, position in rooms.items()}
        return SavedSession("old", ANNE, False, TAG, ended, kept)

    async def reconnect(self, saved: SavedSession, positions: Mapping[RoomId, Position] | None = None) -> Session:
        """Reconnect as Anne, and restore the session."""
        session = self.node.session(ANNE)
        await self.restore.restore(session, saved, positions or {}, self._refuse)
        return session

    def texts(self, session: Session) -> list[str]:
        return [payload["chat"] for payload in self.node.received(session, "chat")]

    def at(self, seq: int) -> Position:
        return Position(self.stored.epoch, seq)

    def _refuse(self, room_id: RoomId, refusal: Refused) -> None:
        self.refused[room_id] = refusal.code.code


@pytest.fixture
async def world(cluster: FakeCluster) -> AsyncIterator[World]:
    async with cluster.node("n1") as node:
        yield World(cluster, node)


async def test_a_restored_session_is_in_its_rooms(world: World) -> None:
    session = await world.reconnect(world.saved_session({ROOM: None, OTHER_ROOM: None}))
    assert session.rooms == {ROOM, OTHER_ROOM}
    assert world.refused == {}


async def test_a_restored_session_gets_missed_messages_and_then_live_ones(cluster: FakeCluster, world: World) -> None:
    session = await world.reconnect(world.saved_session({ROOM: world.at(1)}))
    cluster.publish(world.stored.say("4", BOB), to=ROOM)
    await settle()
    assert world.texts(session) == ["2", "3", "4"]
    assert world.node.received(session, "resync") == []


async def test_the_clients_position_overrides_the_saved_one(world: World) -> None:
    session = await world.reconnect(world.saved_session({ROOM: world.at(1)}), {ROOM: world.at(2)})
    assert world.texts(session) == ["3"]


@pytest.mark.parametrize("seq", [None, 1])
async def test_without_a_valid_position_the_client_gets_resync(world: World, seq: int | None) -> None:
    position = None if seq is None else Position(Epoch("f" * 16), seq)
    session = await world.reconnect(world.saved_session({ROOM: position}))
    assert world.texts(session) == []
    resync = {"room": ROOM, "position": world.at(3).as_json()}
    assert world.node.received(session, "resync") == [resync]


async def test_a_room_that_refuses_the_session_does_not_affect_the_others(world: World) -> None:
    world.stored.banned_until[ANNE.user_id] = FOREVER
    session = await world.reconnect(world.saved_session({ROOM: None, OTHER_ROOM: None}))
    assert session.rooms == {OTHER_ROOM}
    assert world.refused == {ROOM: "banned"}


async def test_only_a_kick_after_the_admission_counts(world: World) -> None:
    world.stored.kicked_at[ANNE.user_id] = world.admitted.at - timedelta(seconds=1)
    assert (await world.reconnect(world.saved_session({ROOM: None}))).rooms == {ROOM}
    world.stored.kicked_at[ANNE.user_id] = world.admitted.at + timedelta(seconds=1)
    kicked = world.saved_session({ROOM: None})
    world.node.rooms[ROOM].record = world.stored.record()
    assert (await world.reconnect(kicked)).rooms == set()
    assert world.refused == {ROOM: "kicked"}


async def test_a_private_room_needs_no_ticket_unless_its_password_changed(world: World) -> None:
    world.stored.payload["private"] = True
    assert (await world.reconnect(world.saved_session({ROOM: None}))).rooms == {ROOM}
    world.stored.access_version = 2
    world.node.rooms[ROOM].record = world.stored.record()
    assert (await world.reconnect(world.saved_session({ROOM: None}))).rooms == set()
    assert world.refused == {ROOM: "password_required"}


async def test_a_session_that_never_ended_is_restored_only_while_its_node_is_remembered(world: World) -> None:
    live = world.saved_session({ROOM: None}, ended=False)
    for remembered in (True, False):
        world.store.remembered = {TAG} if remembered else set()
        await world.saved.save([ToSave(Pid("pid"), live, 60.0)])
        taken = await world.restore.take(Pid("pid"), ANNE.user_id, guest=False)
        assert taken == (live if remembered else None)


async def test_an_ended_session_is_restored_although_its_node_is_forgotten(world: World) -> None:
    ended = replace(world.saved_session({ROOM: world.at(2)}), ended=True)
    await world.saved.save([ToSave(Pid("pid"), ended, 60.0)])
    assert await world.restore.take(Pid("pid"), ANNE.user_id, guest=False) == ended
