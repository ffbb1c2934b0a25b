from datetime import UTC, datetime, timedelta

import pytest

from gifchat_contracts import errors, identity, limits
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import RoomId, UserId
from gifchat_realtime_gateway.adapters.signed_tokens import SignedTokens
from gifchat_realtime_gateway.ports import Ticket
from gifchat_testkit import tokens

ROOM, ANNE = RoomId("a" * 24), UserId("1" * 24)
SIGNED = SignedTokens([identity.DEVELOPMENT_SECRET])


def test_the_last_secret_signs_and_all_verify() -> None:
    rotated = SignedTokens(["old", "new"])
    assert rotated.session_of(tokens.session_cookie("abc", secret="old")) == "abc"
    membership = rotated.membership(ROOM, ANNE, 3)
    content = tokens.content_of(identity.MEMBERSHIP_SALT, membership, secret="new")
    assert content == {"r": ROOM, "u": ANNE, "v": 3}
    assert membership != SignedTokens(["new", "old"]).membership(ROOM, ANNE, 3)


def test_a_token_is_invalid_for_another_purpose() -> None:
    assert SIGNED.session_of(SIGNED.membership(ROOM, ANNE, 1)) is None
    with pytest.raises(Refused):
        SIGNED.ticket_of(tokens.session_cookie("abc"))


def test_a_ticket_has_the_signed_content() -> None:
    ticket = SIGNED.ticket_of(tokens.ticket(ROOM, ANNE, 7, "t1", age_s=20))
    assert ticket == Ticket(ROOM, ANNE, 7, "t1", ticket.issued_at)
    assert timedelta(seconds=19) < datetime.now(UTC) - ticket.issued_at < timedelta(seconds=30)
    assert SIGNED.ticket_of(tokens.ticket(ROOM, ANNE, age_s=limits.TICKET_TTL_S - 2)).room_id == ROOM


@pytest.mark.parametrize(
    "content", [{}, None, "text", {"r": "x", "u": ANNE, "v": 1, "j": "t"}, {"r": ROOM, "u": ANNE, "v": "1", "j": "t"}]
)
def test_signed_content_that_is_not_a_ticket_is_refused(content: object) -> None:
    with pytest.raises(Refused) as refusal:
        SIGNED.ticket_of(tokens.signed(identity.TICKET_SALT, content))
    assert refusal.value.code is errors.TICKET_INVALID
