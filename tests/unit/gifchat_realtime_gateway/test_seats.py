from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_realtime_gateway.domain.seats import HeldSeats, LeaseTimer

ROOM = RoomId("a" * 24)
ANNE = Identity(UserId("1" * 24), "#111111")


def test_a_room_is_held_while_it_has_a_session() -> None:
    held = HeldSeats()
    held.add(ROOM, ANNE)
    held.add(ROOM, ANNE)
    assert dict(held.in_room(ROOM)) == {ANNE: 2}
    assert held.take(ROOM, ANNE.user_id) == 1
    assert ROOM in held
    assert held.take(ROOM, ANNE.user_id) == 0
    assert ROOM not in held
    assert list(held.rooms()) == []


def test_removing_an_unknown_session_is_a_no_op() -> None:
    held = HeldSeats()
    assert held.take(ROOM, ANNE.user_id) == 0
    held.drop(ROOM, ANNE.user_id)
    assert held.sessions(ROOM, ANNE.user_id) == 0


def test_put_does_not_overwrite_known_sessions() -> None:
    held = HeldSeats()
    held.add(ROOM, ANNE)
    held.put(ROOM, ANNE, 5)
    assert held.sessions(ROOM, ANNE.user_id) == 1


def test_a_view_of_a_room_is_a_copy() -> None:
    held = HeldSeats()
    held.add(ROOM, ANNE)
    before = held.in_room(ROOM)
    held.clear()
    assert dict(before) == {ANNE: 1}
    assert dict(held.in_room(ROOM)) == {}


def test_a_lease_counts_from_before_its_renewal_was_sent() -> None:
    timer = LeaseTimer(ttl_s=10, now_s=100)
    assert timer.valid(109.9)
    assert not timer.valid(110)
    timer.renewed(sent_at_s=105)
    assert timer.valid(114.9)
    assert not timer.valid(115)


def test_a_late_reply_to_an_older_renewal_does_not_shorten_the_lease() -> None:
    timer = LeaseTimer(ttl_s=10, now_s=100)
    timer.renewed(sent_at_s=108)
    timer.renewed(sent_at_s=105)
    assert timer.valid(117)
