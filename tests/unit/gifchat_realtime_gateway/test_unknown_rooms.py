"""How long a gateway remembers that a room does not exist, and how many such rooms."""

from gifchat_contracts.ids import RoomId
from gifchat_realtime_gateway.domain.unknown_rooms import UnknownRooms

ROOMS = [RoomId(f"{number:024x}") for number in range(20)]


def test_a_room_is_unknown_for_a_while() -> None:
    unknown = UnknownRooms(ttl_s=5.0)
    unknown.add(ROOMS[0], unknown.creations, 100.0)
    assert unknown.has(ROOMS[0], 104.9)
    assert not unknown.has(ROOMS[0], 105.0)
    assert not unknown.has(ROOMS[1], 100.0)


def test_a_created_room_is_no_longer_unknown() -> None:
    unknown = UnknownRooms(ttl_s=5.0)
    for room in ROOMS[:2]:
        unknown.add(room, unknown.creations, 100.0)
    unknown.created(ROOMS[0])
    assert not unknown.has(ROOMS[0], 100.0)
    assert unknown.has(ROOMS[1], 100.0)


def test_an_answer_from_before_a_creation_is_not_remembered() -> None:
    unknown = UnknownRooms(ttl_s=5.0)
    before = unknown.creations
    unknown.created(ROOMS[0])
    unknown.add(ROOMS[0], before, 100.0)
    assert not unknown.has(ROOMS[0], 100.0)


def test_the_oldest_rooms_give_way() -> None:
    unknown = UnknownRooms(ttl_s=5.0, max_rooms=10)
    for number, room in enumerate(ROOMS):
        unknown.add(room, 0, 100.0 + number / 10)
    assert len(unknown) == 10
    assert not unknown.has(ROOMS[9], 102.0)
    assert unknown.has(ROOMS[10], 102.0)


def test_expired_rooms_take_no_memory() -> None:
    unknown = UnknownRooms(ttl_s=5.0)
    for room in ROOMS:
        unknown.add(room, 0, 100.0)
    unknown.add(ROOMS[0], 0, 104.0)
    unknown.add(ROOMS[1], 0, 105.0)
    assert len(unknown) == 2
