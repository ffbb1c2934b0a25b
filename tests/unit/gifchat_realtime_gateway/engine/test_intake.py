"""The budget of packets and bytes, with times chosen by the test."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gifchat_realtime_gateway.engine.intake import (
    ADDRESS_RATE,
    CLIENT_RATE,
    PACKETS_PER_TURN,
    Address,
    Allowance,
    Intake,
    Rate,
)

SLOW = Rate(packets_per_s=10.0, packets_at_once=40.0, bytes_per_s=1_000.0, bytes_at_once=2_000.0)
PLENTY = Rate(packets_per_s=1e9, packets_at_once=1e9, bytes_per_s=1e12, bytes_at_once=1e12)


def intake(own: Rate = SLOW, address: Rate = PLENTY, overspending_s: float = 10.0) -> Intake:
    return Intake(own, Address("192.0.2.1", address), overspending_s)


def take(budget: Intake, now_s: float) -> int:
    """Parse as much as is allowed in one turn; return the number of packets."""
    count = budget.admit(0, now_s)
    budget.spend(count, 0, now_s)
    return count


def take_all(budget: Intake, now_s: float) -> int:
    total = 0
    while count := take(budget, now_s):
        total += count
    return total


def test_a_burst_is_parsed_in_turns_and_then_at_the_rate() -> None:
    budget = intake()
    assert take(budget, 100.0) == PACKETS_PER_TURN
    assert take(budget, 100.0) == 40 - PACKETS_PER_TURN
    assert take(budget, 100.0) == 0
    assert budget.delay_s(100.0) == pytest.approx(0.1)
    assert take_all(budget, 100.05) == 0
    assert take_all(budget, 100.1) == 1
    assert take_all(budget, 101.1) == 10
    assert take_all(budget, 1_000.0) == 40


def test_received_bytes_are_charged_before_anything_is_parsed() -> None:
    budget = intake()
    assert budget.admit(1_999, 0.0) == PACKETS_PER_TURN
    assert budget.admit(501, 0.0) == 0
    assert budget.delay_s(0.0) == pytest.approx(0.5)
    assert budget.admit(0, 0.6) == PACKETS_PER_TURN


def test_connections_of_one_address_share_its_allowance() -> None:
    address = Address("192.0.2.1", SLOW)
    budgets = [Intake(PLENTY, address, 10.0) for _ in range(5)]
    assert sum(take_all(budget, 0.0) for budget in budgets) == 40
    assert take_all(Intake(PLENTY, address, 10.0), 0.0) == 0, "a new connection is no new allowance"
    assert sum(take_all(budget, 1.0) for budget in budgets) == 10
    assert take_all(intake(), 1.0) == 40, "another address is not affected"


def test_a_client_that_keeps_overspending_is_to_be_disconnected() -> None:
    budget, now_s = intake(), 0.0
    while now_s <= 9.9:
        take_all(budget, now_s)
        assert not budget.overspends(now_s), now_s
        now_s += 0.05
    take_all(budget, 10.0)
    assert budget.overspends(10.0)


def test_a_burst_with_a_pause_after_it_is_forgiven() -> None:
    budget, now_s = intake(), 0.0
    for _ in range(50):
        take_all(budget, now_s)
        assert not budget.overspends(now_s)
        now_s += 2.5  # Half of the budget is back.
    assert now_s > 100.0


def test_a_client_is_not_disconnected_for_what_others_at_its_address_send() -> None:
    address = Address("192.0.2.1", SLOW)
    flooder, polite = Intake(PLENTY, address, 10.0), Intake(SLOW, address, 10.0)
    for tick in range(1_000):
        take_all(flooder, tick * 0.1)
        assert not polite.overspends(tick * 0.1)
    assert polite.delay_s(99.9) > 0


def test_costly_work_puts_the_connection_and_its_address_in_debt() -> None:
    address = Address("192.0.2.1", SLOW)
    costly, other = Intake(PLENTY, address, 10.0), Intake(PLENTY, address, 10.0)
    costly.spend(40, 0, 0.0)
    assert not other.in_debt(0.0), "everything spent, but nothing owed"
    costly.spend(10, 0, 0.0)
    assert costly.in_debt(0.0)
    assert other.in_debt(0.0)
    assert other.delay_s(0.0) == pytest.approx(1.1)
    assert not other.in_debt(1.0)
    other.spend(-10, 0, 1.0)
    assert address.packets_left(1.0) == pytest.approx(10), "a refund"


@given(
    st.lists(st.tuples(st.floats(0, 10), st.floats(0, 5_000)), max_size=50),
    st.floats(0, 1e6),
)
def test_no_more_than_the_burst_and_the_rate_is_ever_admitted(steps: list[tuple[float, float]], start_s: float) -> None:
    allowance, now_s, packets, size = Allowance(SLOW), start_s, 0.0, 0
    for pause_s, wanted in steps:
        now_s += pause_s
        if allowance.wait_s(now_s) == 0:
            count = min(wanted, allowance.packets_left(now_s))
            allowance.spend(count, 100, now_s)
            packets += count
            size += 100
        elapsed_s = now_s - start_s
        assert packets <= 40 + 10 * elapsed_s + 1e-3
        assert size <= 2_000 + 1_000 * elapsed_s + 100


def test_a_waiting_time_is_never_too_short() -> None:
    allowance, now_s = Allowance(SLOW), 12_345.678
    for _ in range(200):
        allowance.spend(1, 300, now_s)
        now_s += allowance.wait_s(now_s)
        assert allowance.wait_s(now_s) < 1e-6


def test_an_address_has_room_for_many_clients() -> None:
    assert ADDRESS_RATE.packets_per_s >= 10 * CLIENT_RATE.packets_per_s
    assert ADDRESS_RATE.bytes_per_s >= 4 * CLIENT_RATE.bytes_per_s
