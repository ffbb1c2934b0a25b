from hypothesis import given
from hypothesis import strategies as st

from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import UserId
from gifchat_realtime_gateway.domain.session import EVENT_BURST, EVENTS_PER_S, TYPING_EVERY_S, Budget, Session

ANNE = Identity(UserId("1" * 24), "#111111")


def test_a_burst_is_let_through_and_then_as_many_as_come_in_a_second() -> None:
    budget = Budget()
    assert [budget.spend(100.0) for _ in range(EVENT_BURST + 1)] == [True] * EVENT_BURST + [False]
    assert [budget.spend(101.0) for _ in range(int(EVENTS_PER_S) + 1)] == [True] * int(EVENTS_PER_S) + [False]


def test_who_rests_for_long_saves_up_one_burst_and_no_more() -> None:
    budget = Budget(at_once=3, per_s=1)
    assert budget.spend(0.0)
    assert [budget.spend(1_000.0) for _ in range(4)] == [True, True, True, False]


@given(st.lists(st.floats(0, 2)))
def test_no_more_is_spent_than_the_burst_and_the_rate_give(pauses_s: list[float]) -> None:
    budget, now_s, spent = Budget(at_once=3, per_s=2), 0.0, 0
    for pause_s in pauses_s:
        now_s += pause_s
        spent += budget.spend(now_s)
        assert spent <= 3 + 2 * now_s + 1e-6


def test_typing_is_told_every_two_seconds_at_most() -> None:
    session = Session("sid", ANNE, "en")
    assert session.may_tell_typing(0.0)
    assert not session.may_tell_typing(TYPING_EVERY_S - 0.01)
    assert session.may_tell_typing(TYPING_EVERY_S)
    assert not session.may_tell_typing(TYPING_EVERY_S + 0.01)


def test_two_tabs_of_a_user_are_two_sessions() -> None:
    assert Session("sid", ANNE, "en") != Session("sid", ANNE, "en")
    assert Session("a", ANNE, "en").budget is not Session("b", ANNE, "en").budget
