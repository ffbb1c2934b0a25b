import time
from collections.abc import Callable

import pytest

from gifchat_chassis.session_cookie import TokenSigner
from gifchat_contracts import identity, limits
from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.adapters.signed_tokens import SignedTokens

ROOM, ANNE = RoomId("65f0c0ffee0123456789abcd"), UserId("a" * 24)
At = Callable[[float], None]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> At:
    """Move the clock by a number of seconds."""
    now = time.time()
    return lambda seconds: monkeypatch.setattr(time, "time", lambda: now + seconds)


def signer(secret: str, salt: str) -> TokenSigner:
    return TokenSigner([secret], salt)


def membership(**changes: object) -> str:
    content = {"r": ROOM, "u": ANNE, "v": 3} | changes
    return signer("new", identity.MEMBERSHIP_SALT).sign(content)


def test_the_last_secret_signs_tickets() -> None:
    tokens = SignedTokens(["old", "new"])
    assert signer("new", identity.TICKET_SALT).read(tokens.ticket(ROOM, ANNE, 3), limits.TICKET_TTL_S)


def test_a_ticket_names_user_and_room_and_is_unique() -> None:
    tokens = SignedTokens(["new"])
    one, other = (
        signer("new", identity.TICKET_SALT).read(tokens.ticket(ROOM, ANNE, 3), limits.TICKET_TTL_S) for _ in range(2)
    )
    assert (one["r"], one["u"], one["v"]) == (ROOM, ANNE, 3)
    assert one["j"] != other["j"]


def test_a_token_is_valid_only_for_its_purpose() -> None:
    tokens = SignedTokens(["new"])
    assert tokens.membership_of(tokens.ticket(ROOM, ANNE, 3)) is None
    assert tokens.session_of(tokens.ticket(ROOM, ANNE, 3)) is None
    assert tokens.membership_of(signer("new", identity.SESSION_SALT).sign({"r": ROOM, "u": ANNE, "v": 3})) is None


def test_a_membership_can_be_read_back() -> None:
    found = SignedTokens(["new"]).membership_of(membership())
    assert found is not None
    assert (found.room_id, found.user_id, found.access_version) == (ROOM, ANNE, 3)
    assert found.issued_at.tzinfo is not None
    assert abs(found.issued_at.timestamp() - time.time()) < 5


def test_an_address_digest_depends_on_the_address_and_the_newest_secret() -> None:
    digest = SignedTokens(["old", "new"]).address_digest("203.0.113.7")
    assert digest == SignedTokens(["new"]).address_digest("203.0.113.7")
    assert digest != SignedTokens(["new"]).address_digest("203.0.113.8")
    assert digest != SignedTokens(["old"]).address_digest("203.0.113.7")


def test_sessions_and_memberships_expire(at: At) -> None:
    tokens = SignedTokens(["new"])
    session, token = signer("new", identity.SESSION_SALT).sign("anne"), membership()
    at(limits.MEMBERSHIP_TTL_S - 2)
    assert tokens.membership_of(token)
    at(limits.MEMBERSHIP_TTL_S + 2)
    assert tokens.membership_of(token) is None
    assert tokens.session_of(session) == "anne"
    at(identity.SESSION_TTL_S + 2)
    assert tokens.session_of(session) is None


@pytest.mark.parametrize("token", ["", "x", "a.b.c", membership()[:-1], membership() + "x", "\x00", "é"])
def test_a_forged_token_is_none(token: str) -> None:
    tokens = SignedTokens(["new"])
    assert tokens.membership_of(token) is None
    assert tokens.session_of(token) is None


@pytest.mark.parametrize("content", [{"r": "x"}, {"u": {"$ne": 1}}, {"v": "3"}, {"r": None}], ids=str)
def test_a_signed_token_with_other_content_is_none(content: dict[str, object]) -> None:
    assert SignedTokens(["new"]).membership_of(membership(**content)) is None
