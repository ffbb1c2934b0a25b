"""How many connections an address may have, and how long its allowance is remembered."""

from gifchat_realtime_gateway.engine.addresses import Addresses
from gifchat_realtime_gateway.engine.intake import IntakeBounds, Rate

RATE = Rate(packets_per_s=10.0, packets_at_once=40.0, bytes_per_s=1_000.0, bytes_at_once=2_000.0)
BOUNDS = IntakeBounds(client=RATE, address=RATE, connections_per_address=5, guests_per_address=3)
HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"


def test_an_address_has_a_limited_number_of_connections() -> None:
    addresses = Addresses(BOUNDS)
    intakes = []
    while addresses.admits(HERE, guest=False):
        intakes.append(addresses.enter(HERE, guest=False))
    assert len(intakes) == 5
    assert not addresses.admits(HERE, guest=True)
    assert addresses.admits(ELSEWHERE, guest=True)
    addresses.leave(intakes.pop(), guest=False)
    assert addresses.admits(HERE, guest=False)


def test_fewer_guests_than_users_with_a_session_are_admitted() -> None:
    addresses = Addresses(BOUNDS)
    guests = []
    while addresses.admits(HERE, guest=True):
        guests.append(addresses.enter(HERE, guest=True))
    assert len(guests) == 3
    assert addresses.admits(HERE, guest=False)
    addresses.enter(HERE, guest=False)
    assert not addresses.admits(HERE, guest=True)
    addresses.leave(guests.pop(), guest=True)
    assert addresses.admits(HERE, guest=True)


def test_an_ipv6_network_counts_as_one_address() -> None:
    addresses = Addresses(BOUNDS)
    for number in range(5):
        addresses.enter(f"2001:db8::{number:x}", guest=False)
    assert not addresses.admits("2001:db8::ffff", guest=False)
    assert addresses.admits("2001:db8:0:1::1", guest=False)


def test_a_spent_allowance_survives_a_reconnect() -> None:
    addresses = Addresses(BOUNDS)
    first = addresses.enter(HERE, guest=True)
    first.spend(40, 0, 0.0)
    addresses.leave(first, guest=True)
    addresses.tidy(1.0)
    second = addresses.enter(HERE, guest=True)
    assert second.admit(0, 1.0) == 10
    addresses.leave(second, guest=True)
    addresses.tidy(3.9)
    assert len(addresses) == 1
    addresses.tidy(4.1)
    assert len(addresses) == 0


def test_an_address_that_is_in_use_is_not_forgotten() -> None:
    addresses = Addresses(BOUNDS)
    addresses.leave(addresses.enter(HERE, guest=False), guest=False)
    intake = addresses.enter(HERE, guest=False)
    addresses.tidy(1e6)
    assert addresses.enter(HERE, guest=False).address is intake.address


def test_a_connection_inherits_what_the_same_user_spent_on_a_closed_one() -> None:
    addresses = Addresses(IntakeBounds(client=RATE))
    first, second = (addresses.enter(HERE, guest=False, session_id="anne") for _ in range(2))
    first.spend(40, 0, 0.0)
    second.spend(10, 0, 0.0)
    addresses.leave(second, guest=False)
    addresses.leave(first, guest=False)
    assert addresses.enter(HERE, guest=False, session_id="bob").packets_left(0.0) == 40
    assert addresses.enter(HERE, guest=True).packets_left(0.0) == 40
    assert addresses.enter(ELSEWHERE, guest=False, session_id="anne").packets_left(0.0) == 0
    assert addresses.enter(HERE, guest=False, session_id="anne").packets_left(0.0) == 30
    assert addresses.enter(HERE, guest=False, session_id="anne").packets_left(0.0) == 40


def test_guests_of_an_address_inherit_from_each_other() -> None:
    addresses = Addresses(IntakeBounds(client=RATE))
    guest = addresses.enter(HERE, guest=True)
    guest.spend(0, 2_000, 0.0)
    addresses.leave(guest, guest=True)
    assert addresses.enter(ELSEWHERE, guest=True).wait_s(0.0) == 0
    assert addresses.enter(HERE, guest=True).wait_s(0.5) == 0
    assert not guest.is_full(1.0)


def test_an_inherited_intake_charges_the_address_of_the_new_connection() -> None:
    addresses = Addresses(IntakeBounds(client=RATE))
    moving = addresses.enter(HERE, guest=False, session_id="anne")
    moving.spend(5, 0, 0.0)
    addresses.leave(moving, guest=False)
    assert addresses.enter(ELSEWHERE, guest=False, session_id="anne") is moving
    assert moving.address.key == ELSEWHERE


def test_an_overspender_is_barred_until_half_of_its_allowance_is_back() -> None:
    addresses = Addresses(IntakeBounds(client=RATE))
    intake = addresses.enter(HERE, guest=False, session_id="anne")
    intake.exhaust(0.0)
    addresses.leave(intake, guest=False, disconnected=True)
    assert addresses.barred_s(HERE, "anne", 0.5) == 1.5
    assert addresses.barred_s(ELSEWHERE, "anne", 0.5) == 1.5
    assert addresses.barred_s(HERE, "bob", 0.5) == addresses.barred_s(HERE, None, 0.5) == 0
    assert addresses.barred_s(HERE, "anne", 2.0) == 0
    again = addresses.enter(HERE, guest=False, session_id="anne")
    assert again.packets_left(2.0) == 20
    addresses.leave(again, guest=False)
    assert addresses.barred_s(HERE, "anne", 2.0) == 0


def test_a_spent_intake_is_forgotten_when_it_is_full_again() -> None:
    addresses = Addresses(IntakeBounds(client=RATE))
    intake = addresses.enter(HERE, guest=False, session_id="anne")
    intake.spend(40, 0, 0.0)
    addresses.leave(intake, guest=False)
    addresses.tidy(3.9)
    addresses.tidy(4.1)
    assert addresses.enter(HERE, guest=False, session_id="anne") is not intake
