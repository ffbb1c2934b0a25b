from datetime import UTC, datetime, timedelta

import pytest

from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.events import RoomPayload
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import Epoch, RoomId, UserId
from gifchat_contracts.position import Position
from gifchat_realtime_gateway.domain.hosted_room import Audience, HostedRoom
from gifchat_realtime_gateway.domain.room_record import FOREVER, Forever, LogPage, RoomRecord
from gifchat_realtime_gateway.domain.session import Session
from gifchat_testkit.fakes.rooms_api import FIRST_EPOCH, StoredRoom
from gifchat_testkit.fakes.sockets import FakeSockets

ROOM = RoomId("a" * 24)
ANNE, BOB = Identity(UserId("1" * 24), "#111111"), Identity(UserId("2" * 24), "#222222")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PAYLOAD: RoomPayload = {
    "_id": ROOM,
    "title": "a room",
    "max": 7,
    "private": False,
    "owner": ANNE.color,
    "owner_id": ANNE.user_id,
    "slow_mode_s": 0,
    "createdAt": "2026-01-01T00:00:00.000Z",
    "members": 3,
}


def record(banned_until: dict[UserId, datetime | Forever] | None = None) -> RoomRecord:
    return RoomRecord(PAYLOAD, FIRST_EPOCH, 1, banned_until or {})


def log(last: int) -> tuple[Frame, ...]:
    room = StoredRoom(ROOM, PAYLOAD)
    return tuple(room.say(f"message {seq}", ANNE) for seq in range(1, last + 1))


@pytest.mark.parametrize(
    ("until", "banned"),
    [(FOREVER, True), (NOW + timedelta(seconds=1), True), (NOW, False), (NOW - timedelta(days=1), False)],
)
def test_a_ban_lasts_until_its_end(until: datetime | Forever, banned: bool) -> None:
    assert record({BOB.user_id: until}).banned(BOB.user_id, NOW) is banned
    assert not record({BOB.user_id: until}).banned(ANNE.user_id, NOW)


@pytest.mark.parametrize(("until", "muted"), [(FOREVER, True), (NOW + timedelta(seconds=1), True), (NOW, False)])
def test_a_mute_lasts_until_its_end(until: datetime | Forever, muted: bool) -> None:
    found = RoomRecord(PAYLOAD, FIRST_EPOCH, 1, {}, muted_until={BOB.user_id: until})
    assert found.muted(BOB.user_id, NOW) is muted
    assert not found.muted(ANNE.user_id, NOW)
    assert not found.banned(BOB.user_id, NOW)


def test_a_room_starts_at_the_end_of_its_log() -> None:
    room = HostedRoom(ROOM, record(), LogPage(FIRST_EPOCH, 9, log(9)[-4:]), FakeSockets().group(), now_s=1.0)
    assert room.stream.position == Position(FIRST_EPOCH, 9)
    assert (room.ring.start, room.ring.last) == (5, 9)
    assert room.occupancy == 3
    assert room.record.max_members == 7


def test_an_empty_room_starts_before_its_first_message() -> None:
    room = HostedRoom(ROOM, record(), LogPage(FIRST_EPOCH, 0, ()), FakeSockets().group(), now_s=1.0)
    assert room.stream.position == Position(FIRST_EPOCH, 0)
    assert room.ring.since(0) == []


def test_a_restarted_stream_forgets_held_frames_and_the_ring() -> None:
    room = HostedRoom(ROOM, record(), LogPage(FIRST_EPOCH, 5, log(5)), FakeSockets().group(), now_s=1.0)
    room.stream.receive(Frame(Kind.CHAT, b"", FIRST_EPOCH, 9))
    other = Epoch("f" * 16)
    room.start_stream(LogPage(other, 2, ()))
    assert room.stream.position == Position(other, 2)
    assert not room.stream.has_gap
    assert (room.ring.start, room.ring.last) == (2, 2)


def test_an_audience_knows_its_sessions_by_user() -> None:
    sockets = FakeSockets()
    sockets.chat = {"a1": [], "a2": [], "b1": []}
    audience = Audience(sockets.group())

    def hear(exclude: UserId | None = None) -> set[str]:
        audience.send(b'["chat",{}]', exclude)
        heard = {sid for sid, events in sockets.chat.items() if events}
        for events in sockets.chat.values():
            events.clear()
        return heard

    tab, other_tab, bobs = Session("a1", ANNE, "en"), Session("a2", ANNE, "en"), Session("b1", BOB, "ko")
    for session in (tab, other_tab, bobs, tab):
        audience.add(session)
    assert len(audience) == 3
    assert hear() == {"a1", "a2", "b1"}
    assert set(audience.sids_of(ANNE.user_id)) == {"a1", "a2"}
    assert hear(exclude=ANNE.user_id) == {"b1"}
    assert list(audience.sids_of(None)) == []

    audience.discard(tab)
    audience.discard(tab)
    assert audience.sessions_of(ANNE.user_id) == [other_tab]
    audience.discard(other_tab)
    assert audience.sessions_of(ANNE.user_id) == []
    assert audience.sessions() == [bobs]
    assert hear() == {"b1"}


def test_a_list_of_sessions_is_a_copy() -> None:
    audience = Audience(FakeSockets().group())
    session = Session("a1", ANNE, "en")
    audience.add(session)
    for each in audience.sessions():
        audience.discard(each)
    assert len(audience) == 0
