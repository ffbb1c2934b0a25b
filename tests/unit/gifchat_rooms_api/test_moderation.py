from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gifchat_contracts import limits
from gifchat_contracts.ids import UserId
from gifchat_rooms_api.domain.moderation import (
    FOREVER,
    MAX_SANCTIONED_USERS,
    Ban,
    Kick,
    ModerationAction,
    Mute,
    Sanction,
    TooManySanctionsError,
    apply_action,
    sanction_end,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LATER = NOW + timedelta(seconds=60)
ANNE, BOB = UserId("a" * 24), UserId("b" * 24)
MEMBERSHIP_TTL = timedelta(seconds=limits.MEMBERSHIP_TTL_S)


def test_a_ban_ends_exactly_at_its_end() -> None:
    ban = Sanction(banned_until=LATER)
    assert ban.banned(LATER - timedelta(milliseconds=1))
    assert not ban.banned(LATER)
    assert not ban.muted(NOW)


def test_a_sanction_without_an_end_never_expires() -> None:
    always = Sanction(banned_until=FOREVER, muted_until=FOREVER)
    assert always.banned(datetime.max.replace(tzinfo=UTC))
    assert always.muted(datetime.max.replace(tzinfo=UTC))


def test_a_duration_counts_from_now() -> None:
    assert sanction_end(60, NOW) == LATER
    assert sanction_end(None, NOW) is FOREVER


def test_sanctions_of_different_kinds_add_up() -> None:
    sanctions = apply_action({}, ANNE, Mute(FOREVER), NOW)
    sanctions = apply_action(sanctions, ANNE, Ban(LATER), NOW)
    sanctions = apply_action(sanctions, BOB, Kick(), NOW)
    assert sanctions == {ANNE: Sanction(banned_until=LATER, muted_until=FOREVER), BOB: Sanction(kicked_at=NOW)}


def test_lifting_one_sanction_keeps_the_other() -> None:
    sanctions = {ANNE: Sanction(banned_until=LATER, muted_until=FOREVER)}
    assert apply_action(sanctions, ANNE, Ban(None), NOW) == {ANNE: Sanction(muted_until=FOREVER)}
    assert apply_action(sanctions, ANNE, Mute(None), NOW) == {ANNE: Sanction(banned_until=LATER)}


def test_lifting_a_missing_sanction_is_a_no_op() -> None:
    assert apply_action({}, ANNE, Ban(None), NOW) == {}


def test_expired_sanctions_are_dropped_with_the_next_action() -> None:
    sanctions = {ANNE: Sanction(banned_until=LATER)}
    assert apply_action(sanctions, BOB, Kick(), LATER) == {BOB: Sanction(kicked_at=LATER)}


def test_a_kick_lasts_as_long_as_the_memberships_that_it_voids() -> None:
    kicked = Sanction(kicked_at=NOW)
    assert kicked.pruned(NOW + MEMBERSHIP_TTL - timedelta(milliseconds=1)) == kicked
    assert kicked.pruned(NOW + MEMBERSHIP_TTL) == Sanction()


def full() -> dict[UserId, Sanction]:
    return {UserId(f"{number:024x}"): Sanction(muted_until=FOREVER) for number in range(MAX_SANCTIONED_USERS)}


def test_the_number_of_sanctioned_users_is_bounded() -> None:
    with pytest.raises(TooManySanctionsError):
        apply_action(full(), ANNE, Kick(), NOW)


def test_existing_sanctions_can_change_although_the_list_is_full() -> None:
    sanctions = full()
    known = UserId(f"{7:024x}")
    assert apply_action(sanctions, known, Ban(FOREVER), NOW)[known].banned(NOW)
    assert len(apply_action(sanctions, known, Mute(None), NOW)) == MAX_SANCTIONED_USERS - 1
    assert apply_action(sanctions, ANNE, Ban(None), NOW) == sanctions


untils = st.one_of(st.none(), st.just(FOREVER), st.integers(-100, 100).map(lambda s: NOW + timedelta(seconds=s)))
measures = st.one_of(st.builds(Kick), st.builds(Ban, untils), st.builds(Mute, untils))


@given(st.lists(st.tuples(st.sampled_from([ANNE, BOB]), measures), max_size=12))
def test_the_last_action_of_a_kind_applies(taken: list[tuple[UserId, ModerationAction]]) -> None:
    sanctions: dict[UserId, Sanction] = {}
    for user_id, action in taken:
        sanctions = apply_action(sanctions, user_id, action, NOW)
    for user_id in (ANNE, BOB):
        bans = [action for whom, action in taken if whom == user_id and isinstance(action, Ban)]
        mutes = [action for whom, action in taken if whom == user_id and isinstance(action, Mute)]
        found = sanctions.get(user_id, Sanction())
        assert found.banned(NOW) == bool(bans and Sanction(banned_until=bans[-1].until).banned(NOW))
        assert found.muted(NOW) == bool(mutes and Sanction(muted_until=mutes[-1].until).muted(NOW))
        assert (found.kicked_at == NOW) == any(whom == user_id and isinstance(each, Kick) for whom, each in taken)
    assert Sanction() not in sanctions.values()
