from hypothesis import given
from hypothesis import strategies as st

from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import UserId
from gifchat_realtime_gateway.domain.session import EVENT_BURST, EVENTS_PER_S, TYPING_EVERY_S, Budget, Session

ANNE = Identity(UserId("1" * 24), "#111111")


def test_the_budget_allows_a_burst_and_then_the_rate() -> None:
    budget = Budget()
    assert [budget.spend(100.0) for _ in range(EVENT_BURST + 1)] == [True] * EVENT_BURST + [False]
    assert [budget.spend(101.0) for _ in range(int(EVENTS_PER_S) + 1)] == [True] * int(EVENTS_PER_S) + [False]


def test_a_pause_saves_up_at_most_one_burst() -> None:
    budget = Budget(at_once=3, per_s=1)
    assert budget.spend(0.0)
    assert [budget.spend(1_000.0) for _ in range(4)] == [True, True, True, False]


@given(st.lists(st.floats(0, 2)))
def test_spending_never_exceeds_the_burst_and_the_rate(pauses_s: list[float]) -> None:
    budget, now_s, spent = Budget(at_once=3, per_s=2), 0.0, 0
    for pause_s in pauses_s:
        now_s += pause_s
        spent += budget.spend(now_s)
        assert spent <= 3 + 2 * now_s + 1e-6


def test_typing_is_passed_on_at_a_limited_rate() -> None:
    session = Session("sid", ANNE, "en")
    assert session.may_tell_typing(0.0)
    assert not session.may_tell_typing(TYPING_EVERY_S - 0.01)
    assert session.may_tell_typing(TYPING_EVERY_S)
    assert not session.may_tell_typing(TYPING_EVERY_S + 0.01)


def test_two_tabs_of_a_user_are_two_sessions() -> None:
    assert Session("sid", ANNE, "en") != Session("sid", ANNE, "en")
    assert Session("a", ANNE, "en").budget is not Session("b", ANNE, "en").budget
