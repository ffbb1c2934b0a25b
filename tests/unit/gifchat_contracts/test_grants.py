from datetime import UTC, datetime, timedelta

import pytest

from gifchat_contracts.grants import Grant

GIVEN_AT = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
GRANT = Grant(7, GIVEN_AT)


def test_a_grant_comes_back_unchanged() -> None:
    assert GRANT.encode() == "7|1767323045678"
    assert Grant.decode(GRANT.encode().encode()) == GRANT


def test_a_grant_is_for_one_password() -> None:
    assert GRANT.valid(7, None)
    assert not GRANT.valid(8, None)


def test_a_kick_ends_the_grants_from_before_it() -> None:
    assert not GRANT.valid(7, GIVEN_AT)
    assert GRANT.valid(7, GIVEN_AT - timedelta(milliseconds=1))


def test_a_grant_without_a_time_holds_until_the_first_kick() -> None:
    old = Grant.decode(b"7")
    assert old.valid(7, None)
    assert not old.valid(7, datetime(2020, 1, 1, tzinfo=UTC))


def test_another_value_is_no_grant() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        Grant.decode(b"x")
