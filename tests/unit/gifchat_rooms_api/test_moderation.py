from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gifchat_contracts import limits
from gifchat_contracts.ids import UserId
from gifchat_rooms_api.domain import moderation
from gifchat_rooms_api.domain.moderation import (
    FOREVER,
    Ban,
    Kick,
    ModerationAction,
    Mute,
    Sanction,
    sanction_end,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LATER = NOW + timedelta(seconds=60)
ANNE, BOB = UserId("a" * 24), UserId("b" * 24)
MEMBERSHIP_TTL = timedelta(seconds=limits.MEMBERSHIP_TTL_S)
MAX_USERS = 5


def apply_action(
    sanctions: Mapping[UserId, Sanction], user_id: UserId, action: ModerationAction, now: datetime
) -> dict[UserId, Sanction]:
    return moderation.apply_action(sanctions, user_id, action, now, max_users=MAX_USERS)


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
    sanctions = apply_action(sanctions, BOB, Kick(LATER), NOW)
    assert sanctions == {
        ANNE: Sanction(banned_until=LATER, muted_until=FOREVER),
        BOB: Sanction(kicked_at=NOW, kicked_until=LATER),
    }


def test_lifting_one_sanction_keeps_the_other() -> None:
    sanctions = {ANNE: Sanction(banned_until=LATER, muted_until=FOREVER)}
    assert apply_action(sanctions, ANNE, Ban(None), NOW) == {ANNE: Sanction(muted_until=FOREVER)}
    assert apply_action(sanctions, ANNE, Mute(None), NOW) == {ANNE: Sanction(banned_until=LATER)}


def test_lifting_a_missing_sanction_is_a_no_op() -> None:
    assert apply_action({}, ANNE, Ban(None), NOW) == {}


def test_expired_sanctions_are_dropped_with_the_next_action() -> None:
    sanctions = {ANNE: Sanction(banned_until=LATER)}
    assert apply_action(sanctions, BOB, Kick(LATER), LATER) == {BOB: Sanction(kicked_at=LATER)}


def test_a_kick_lasts_as_long_as_the_memberships_that_it_voids() -> None:
    kicked = Sanction(kicked_at=NOW)
    assert kicked.pruned(NOW + MEMBERSHIP_TTL - timedelta(milliseconds=1)) == kicked
    assert kicked.pruned(NOW + MEMBERSHIP_TTL) == Sanction()


def test_a_kick_keeps_a_user_out_until_its_end() -> None:
    kicked = apply_action({}, ANNE, Kick(LATER), NOW)[ANNE]
    assert kicked.kicked(LATER - timedelta(milliseconds=1))
    assert not kicked.kicked(LATER)
    assert kicked.pruned(LATER) == Sanction(kicked_at=NOW), "memberships from before the kick stay void"


def user(number: int) -> UserId:
    return UserId(f"{number:024x}")


def full(*actions: ModerationAction) -> dict[UserId, Sanction]:
    """Return sanctions of `MAX_USERS` users, oldest first; `actions` come first, and the rest are mutes."""
    sanctions: dict[UserId, Sanction] = {}
    rest = [Mute(FOREVER)] * (MAX_USERS - len(actions))
    for number, action in enumerate([*actions, *rest]):
        sanctions = apply_action(sanctions, user(number), action, NOW)
    return sanctions


def test_a_new_sanction_ends_the_oldest_kick() -> None:
    sanctions = apply_action(full(Ban(FOREVER), Kick(LATER), Kick(LATER)), ANNE, Kick(LATER), NOW)
    assert list(sanctions) == [user(0), user(2), user(3), user(4), ANNE]


def test_without_a_kick_a_new_sanction_ends_the_oldest_ban_or_mute() -> None:
    sanctions = apply_action(full(Ban(FOREVER)), ANNE, Kick(LATER), NOW)
    assert list(sanctions) == [user(1), user(2), user(3), user(4), ANNE]
    assert sanctions[ANNE].kicked(NOW)


def test_a_renewed_sanction_is_the_newest() -> None:
    sanctions = apply_action(full(), user(0), Ban(LATER), NOW)
    assert list(sanctions) == [user(1), user(2), user(3), user(4), user(0)]
    assert next(iter(apply_action(sanctions, ANNE, Mute(LATER), NOW))) == user(2)


def test_lifting_a_sanction_in_a_full_list_ends_no_other() -> None:
    assert apply_action(full(), ANNE, Ban(None), NOW) == full()
    assert list(apply_action(full(), user(3), Mute(None), NOW)) == [user(0), user(1), user(2), user(4)]


def test_a_smaller_bound_applies_with_the_next_action() -> None:
    assert list(moderation.apply_action(full(), ANNE, Kick(LATER), NOW, max_users=2)) == [user(4), ANNE]


untils = st.one_of(st.none(), st.just(FOREVER), st.integers(-100, 100).map(lambda s: NOW + timedelta(seconds=s)))
measures = st.one_of(st.just(Kick(LATER)), st.builds(Ban, untils), st.builds(Mute, untils))


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
