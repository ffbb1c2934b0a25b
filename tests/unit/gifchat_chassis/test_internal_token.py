"""The internal token in the `Authorization` header."""

import pytest

from gifchat_chassis.internal_token import InternalToken


def test_a_token_matches_its_header() -> None:
    token = InternalToken("secret")
    assert token.matches(token.authorization)
    assert token.authorization == "Bearer secret"


@pytest.mark.parametrize(
    "header", [None, "", "secret", "Bearer ", "Bearer secre", "Bearer secret ", "bearer secret", "Bearer geheim\u20ac"]
)
def test_other_headers_are_refused(header: str | None) -> None:
    assert not InternalToken("secret").matches(header)
