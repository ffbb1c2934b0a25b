import pytest
from hypothesis import given
from hypothesis import strategies as st

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import UserId
from gifchat_rooms_api.domain.byte_budget import ByteBudget, ByteRate
from gifchat_rooms_api.use_cases.limit_reads import LimitReads

ANNE, BOB = UserId("a" * 24), UserId("b" * 24)
USER, ADDRESS = ByteRate(1_000, 100), ByteRate(2_500, 500)


class Clock:
    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limit_reads(clock: Clock) -> LimitReads:
    return LimitReads(USER, ADDRESS, clock, max_subjects=8)


def refused_for_s(limit_reads: LimitReads, user_id: UserId, address: str) -> float | None:
    try:
        limit_reads.check(user_id, address)
    except Refused as refusal:
        return refusal.retry_after_s if refusal.code is errors.RATE_LIMITED else None
    return None


def test_a_user_may_read_a_burst_and_then_waits_until_the_debt_is_paid(limit_reads: LimitReads, clock: Clock) -> None:
    limit_reads.charge(ANNE, "home", 999)
    assert refused_for_s(limit_reads, ANNE, "home") is None
    limit_reads.charge(ANNE, "home", 301)
    assert refused_for_s(limit_reads, ANNE, "home") == pytest.approx(3.01)
    clock.now_s += 3.0
    assert refused_for_s(limit_reads, ANNE, "home") == pytest.approx(0.01)
    clock.now_s += 0.02
    assert refused_for_s(limit_reads, ANNE, "home") is None


def test_a_user_who_waits_for_long_saves_no_more_than_the_burst(limit_reads: LimitReads, clock: Clock) -> None:
    limit_reads.charge(ANNE, "home", 500)
    clock.now_s += 1_000_000
    limit_reads.charge(ANNE, "home", 1_001)
    assert refused_for_s(limit_reads, ANNE, "home") is not None


def test_a_user_of_another_address_is_still_the_same_user(limit_reads: LimitReads) -> None:
    limit_reads.charge(ANNE, "home", 1_001)
    assert refused_for_s(limit_reads, ANNE, "office") is not None
    assert refused_for_s(limit_reads, BOB, "home") is None


def test_all_users_of_an_address_share_its_budget(limit_reads: LimitReads) -> None:
    for number in range(3):
        limit_reads.charge(UserId(f"{number:024x}"), "home", 900)
    assert refused_for_s(limit_reads, BOB, "home") == pytest.approx(0.402)
    assert refused_for_s(limit_reads, BOB, "office") is None


def test_a_reader_in_debt_is_not_forgotten_for_others_that_read_once(limit_reads: LimitReads) -> None:
    for number in range(20):
        limit_reads.charge(ANNE, "home", 1_000)
        limit_reads.charge(UserId(f"{number:024x}"), f"address {number}", 1)
    assert refused_for_s(limit_reads, ANNE, "home") is not None


@given(sizes=st.lists(st.tuples(st.integers(0, 5_000), st.floats(0, 20)), max_size=50))
def test_nobody_reads_more_than_the_burst_and_the_rate_and_one_page(sizes: list[tuple[int, float]]) -> None:
    budget, now_s, read = ByteBudget(USER.burst, 0.0), 0.0, 0
    for size, pause_s in sizes:
        now_s += pause_s
        budget = budget.refilled(USER, now_s)
        if budget.wait_s(USER) == 0.0:
            budget = budget.charged(size)
            read += size
    assert read <= USER.burst + USER.per_s * now_s + 5_000
