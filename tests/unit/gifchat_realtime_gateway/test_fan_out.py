import json
from typing import Any

import pytest

from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.events import body
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import Epoch, RoomId, UserId
from gifchat_contracts.position import Position
from gifchat_realtime_gateway.domain.hosted_room import HostedRoom
from gifchat_realtime_gateway.domain.room_record import LogPage, RoomRecord
from gifchat_realtime_gateway.domain.session import Session
from gifchat_realtime_gateway.use_cases.fan_out import Delivery, FanOut
from gifchat_testkit.fakes.rooms_api import FIRST_EPOCH, StoredRoom
from gifchat_testkit.fakes.sockets import FakeSockets

ROOM, OTHER_ROOM = RoomId("a" * 24), RoomId("b" * 24)
ANNE, BOB = Identity(UserId("1" * 24), "#111111"), Identity(UserId("2" * 24), "#222222")


class World:
    """One hosted room, and a fan-out whose seats a test can revoke."""

    def __init__(self) -> None:
        self.sockets = FakeSockets()
        self.rooms: dict[RoomId, HostedRoom] = {}
        self.served = True
        self.fan_out = FanOut(self.sockets, self.rooms, lambda _room_id: self.served)
        self.stored = StoredRoom(ROOM, {"_id": ROOM, "max": 10, "members": 0})  # type: ignore[typeddict-item]
        self.room = self.host(ROOM)
        self.anne, self.tab, self.bob = (self.member(ROOM, who) for who in (ANNE, ANNE, BOB))

    def host(self, room_id: RoomId) -> HostedRoom:
        record = RoomRecord(self.stored.payload, FIRST_EPOCH, 1, {})
        self.rooms[room_id] = HostedRoom(room_id, record, LogPage(FIRST_EPOCH, 0, ()), self.sockets.group(), 1.0)
        return self.rooms[room_id]

    def member(self, room_id: RoomId, who: Identity) -> Session:
        session = Session(f"s{len(self.sockets.chat)}", who, "en")
        self.sockets.chat[session.sid] = []
        self.rooms[room_id].audience.add(session)
        return session

    def take(self, *sessions: Session) -> list[list[tuple[str, Any]]]:
        """Return the new events, by session."""
        taken = []
        for session in sessions:
            taken.append(self.sockets.chat[session.sid])
            self.sockets.chat[session.sid] = []
        return taken

    def texts(self, session: Session) -> list[str]:
        return [payload.get("chat") for event, payload in self.take(session)[0] if event == "chat"]


@pytest.fixture
def world() -> World:
    return World()


def about(kind: Kind, event: str, who: Identity | None = None, payload: Any = None) -> Frame:
    return Frame(kind, body(event, payload), subject=who.user_id if who else None)


def test_a_message_reaches_all_members_including_its_sender_unchanged(world: World) -> None:
    frame = world.stored.say("안녕", ANNE)
    assert world.fan_out.durable(world.room, frame) is Delivery.DONE
    assert world.take(world.anne, world.tab, world.bob) == [[tuple(json.loads(frame.body))]] * 3
    assert world.room.ring.newest(9) == [frame]


def test_messages_are_delivered_once_and_in_order(world: World) -> None:
    one, two, three = (world.stored.say(text, ANNE) for text in ("one", "two", "three"))
    outcomes = [world.fan_out.durable(world.room, frame) for frame in (one, three, one, two, three)]
    assert outcomes == [Delivery.DONE, Delivery.GAP, Delivery.DONE, Delivery.DONE, Delivery.DONE]
    assert world.texts(world.bob) == ["one", "two", "three"]
    assert world.room.ring.newest(9) == [one, two, three]


def test_filling_one_gap_can_reveal_another(world: World) -> None:
    frames = [world.stored.say(str(seq), ANNE) for seq in range(1, 6)]
    outcomes = [world.fan_out.durable(world.room, frames[at]) for at in (1, 4, 0, 2, 3)]
    assert outcomes == [Delivery.GAP, Delivery.GAP, Delivery.GAP, Delivery.GAP, Delivery.DONE]
    assert world.texts(world.bob) == ["1", "2", "3", "4", "5"]


def test_nothing_is_delivered_while_the_seats_are_uncertain(world: World) -> None:
    frame = world.stored.say("one", ANNE)
    world.served = False
    assert world.fan_out.durable(world.room, frame) is Delivery.NOT_SERVED
    for kind in (Kind.JOIN, Kind.PRESENCE, Kind.TYPING, Kind.SANCTION, Kind.ROOM_CHANGED):
        world.fan_out.ephemeral(world.room, about(kind, "x", ANNE))
    assert world.take(world.anne, world.bob) == [[], []]

    world.served = True
    assert world.fan_out.durable(world.room, frame) is Delivery.DONE
    assert world.texts(world.bob) == ["one"]


def test_a_frame_of_another_epoch_needs_a_resync(world: World) -> None:
    frame = Frame(Kind.CHAT, body("chat", {}), Epoch("f" * 16), 1)
    assert world.fan_out.durable(world.room, frame) is Delivery.RESYNC
    assert world.take(world.bob) == [[]]


def test_resync_carries_the_rooms_position(world: World) -> None:
    world.fan_out.durable(world.room, world.stored.say("one", ANNE))
    world.take(world.anne, world.bob)
    world.fan_out.resync(world.room)
    resync = ("resync", {"room": ROOM, "position": Position(FIRST_EPOCH, 1).as_json()})
    assert world.take(world.anne, world.bob) == [[resync], [resync]]


@pytest.mark.parametrize(("kind", "event"), [(Kind.JOIN, "join"), (Kind.TYPING, "typing")])
def test_join_and_typing_are_not_sent_to_their_subject(world: World, kind: Kind, event: str) -> None:
    world.fan_out.ephemeral(world.room, about(kind, event, ANNE))
    assert world.take(world.anne, world.tab, world.bob) == [[], [], [(event, None)]]


def test_a_sanction_is_sent_only_to_its_subject(world: World) -> None:
    world.fan_out.ephemeral(world.room, about(Kind.SANCTION, "sanction", ANNE))
    assert world.take(world.anne, world.tab, world.bob) == [[("sanction", None)], [("sanction", None)], []]


def test_a_sanction_without_a_subject_is_not_sent(world: World) -> None:
    world.fan_out.ephemeral(world.room, about(Kind.SANCTION, "sanction"))
    assert world.take(world.anne, world.bob) == [[], []]


@pytest.mark.parametrize("kind", [Kind.EXIT, Kind.ROOM_CHANGED])
def test_an_event_about_the_room_is_sent_to_all_members(world: World, kind: Kind) -> None:
    world.fan_out.ephemeral(world.room, about(kind, "event", ANNE))
    assert world.take(world.anne, world.bob) == [[("event", None)], [("event", None)]]


@pytest.mark.parametrize("kind", [Kind.CANARY, Kind.NEW_ROOM, Kind.OCCUPANCY])
def test_a_kind_that_does_not_belong_on_a_rooms_channel_is_refused(world: World, kind: Kind) -> None:
    with pytest.raises(ValueError, match=kind.name):
        world.fan_out.ephemeral(world.room, Frame(kind, b""))
    assert world.take(world.anne, world.bob) == [[], []]


def test_the_presence_of_all_nodes_is_sent_in_one_event_per_period(world: World) -> None:
    for members, who in ((201, ANNE), (202, BOB)):
        payload = {"room": ROOM, "members": members, "joined": {who.user_id: who.color}, "left": {}}
        world.fan_out.ephemeral(world.room, about(Kind.PRESENCE, "presence", payload=payload))
    assert world.take(world.bob) == [[]]
    assert world.room.occupancy == 202

    world.fan_out.flush_presence()
    joined = {ANNE.user_id: ANNE.color, BOB.user_id: BOB.color}
    assert world.take(world.bob) == [[("presence", {"room": ROOM, "members": 202, "joined": joined, "left": {}})]]
    world.fan_out.flush_presence()
    assert world.take(world.bob) == [[]]


def test_the_presence_of_a_closed_room_is_dropped(world: World) -> None:
    payload = {"room": ROOM, "members": 5_000}
    world.fan_out.ephemeral(world.room, about(Kind.PRESENCE, "presence", payload=payload))
    del world.rooms[ROOM]
    world.fan_out.flush_presence()
    assert world.take(world.bob) == [[]]


def test_events_of_one_room_do_not_reach_another(world: World) -> None:
    other_room = world.host(OTHER_ROOM)
    stranger = world.member(OTHER_ROOM, ANNE)
    world.fan_out.durable(world.room, world.stored.say("one", BOB))
    payload = {"room": OTHER_ROOM, "members": 300, "joined": {BOB.user_id: BOB.color}}
    world.fan_out.ephemeral(world.room, about(Kind.EXIT, "exit", BOB))
    with pytest.raises(ValueError, match="presence"):
        world.fan_out.ephemeral(world.room, about(Kind.PRESENCE, "presence", payload=payload))
    world.fan_out.flush_presence()
    assert world.take(stranger) == [[]]
    assert other_room.occupancy == 0


def test_a_late_joiner_does_not_get_a_deleted_message(world: World) -> None:
    world.fan_out.durable(world.room, world.stored.say("secret", ANNE))
    assert world.fan_out.durable(world.room, world.stored.delete(1)) is Delivery.DONE
    [_, deleted] = world.take(world.bob)[0]
    assert deleted[0] == "chatDeleted"
    assert [b"secret" in frame.body for frame in world.room.ring.newest(9)] == [False, False]


@pytest.mark.parametrize("unreadable", [b"", b"[", b"{}", b'["chatDeleted",{}]', b'["chatDeleted",{"target_seq":"x"}]'])
def test_an_undecodable_deletion_does_not_hold_up_other_events(world: World, unreadable: bytes) -> None:
    one = world.stored.say("one", ANNE)
    bad = Frame(Kind.CHAT_DELETED, unreadable, FIRST_EPOCH, 2)
    three = Frame(Kind.CHAT, body("chat", {"chat": "three"}), FIRST_EPOCH, 3)
    for frame in (three, bad, one):
        outcome = world.fan_out.durable(world.room, frame)
    assert outcome is Delivery.DONE
    assert world.room.stream.position.seq == world.room.ring.last == 3


MALFORMED_PRESENCE: list[Any] = [
    None,
    [],
    "presence",
    {},
    {"room": ROOM},
    {"room": ROOM, "members": "many"},
    {"room": ROOM, "members": -1},
    {"room": ROOM, "members": True},
    {"room": "nowhere", "members": 7},
    {"room": ROOM, "members": 200, "joined": ["x"], "left": {}},
    {"room": ROOM, "members": 200, "joined": {}, "left": {"x": 1}},
]


@pytest.mark.parametrize("payload", MALFORMED_PRESENCE)
def test_malformed_presence_is_refused_before_it_changes_anything(world: World, payload: Any) -> None:
    good = {"room": ROOM, "members": 200, "joined": {ANNE.user_id: ANNE.color}, "left": {}}
    world.fan_out.ephemeral(world.room, about(Kind.PRESENCE, "presence", payload=good))
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        world.fan_out.ephemeral(world.room, about(Kind.PRESENCE, "presence", payload=payload))
    assert world.room.occupancy == 200
    world.fan_out.flush_presence()
    assert world.take(world.bob) == [[("presence", good)]]
