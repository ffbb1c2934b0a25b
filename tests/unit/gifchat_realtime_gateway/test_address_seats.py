from gifchat_contracts.ids import RoomId, UserId
from gifchat_realtime_gateway.domain.address_seats import AddressSeats

HERE, THERE = "203.0.113.7", "203.0.113.8"
SEATS = [(RoomId(digit * 24), UserId("1" * 24)) for digit in "abc"]
GRACE_S = 10.0


def test_sessions_share_a_seat_and_addresses_do_not() -> None:
    held = AddressSeats()
    assert [held.take(HERE, seat, 0) for seat in (SEATS[0], SEATS[0], SEATS[1])] == [1, 1, 2]
    assert held.take(THERE, SEATS[0], 0) == 1
    assert held.above(1, 0) == {HERE: 2}


def test_a_seat_counts_until_the_grace_of_its_last_session_ends() -> None:
    held = AddressSeats()
    for _ in range(2):
        held.take(HERE, SEATS[0], 0)
    held.give_back(HERE, SEATS[0], 1, GRACE_S)
    assert held.above(0, 1 + GRACE_S) == {HERE: 1}
    held.give_back(HERE, SEATS[0], 20, GRACE_S)
    assert held.above(0, 29.9) == {HERE: 1}
    assert held.above(0, 30) == {}


def test_a_return_within_the_grace_is_the_same_seat() -> None:
    held = AddressSeats()
    held.take(HERE, SEATS[0], 0)
    held.give_back(HERE, SEATS[0], 1, GRACE_S)
    assert held.take(HERE, SEATS[0], 2) == 1
    assert held.above(0, 100) == {HERE: 1}


def test_giving_back_a_seat_that_was_not_taken_is_a_no_op() -> None:
    held = AddressSeats()
    held.give_back(HERE, SEATS[0], 0, GRACE_S)
    held.take(HERE, SEATS[0], 0)
    for _ in range(2):
        held.give_back(HERE, SEATS[0], 0, 0.0)
    assert held.above(0, 0) == {}
