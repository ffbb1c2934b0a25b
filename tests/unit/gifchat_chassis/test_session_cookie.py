"""Our fast signer makes and reads the same tokens as itsdangerous."""

import time
from collections.abc import Callable

import pytest
from itsdangerous import BadData, SignatureExpired

from gifchat_chassis.session_cookie import SessionReader, TokenSigner
from gifchat_contracts import identity
from gifchat_testkit import tokens

At = Callable[[float], None]
READER = SessionReader([identity.DEVELOPMENT_SECRET])


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> At:
    """Moves the clock by a number of seconds."""
    now = time.time()
    return lambda seconds: monkeypatch.setattr(time, "time", lambda: now + seconds)


@pytest.mark.parametrize("content", ["abc", {"r": "방", "n": 3}, [1, 2.5, None], "x" * 2_000], ids=str)
def test_itsdangerous_reads_our_tokens_and_we_read_its(content: object) -> None:
    signer = TokenSigner(["one"], "salt")
    assert tokens.content_of("salt", signer.sign(content), secret="one") == content
    assert signer.read(tokens.signed("salt", content, secret="one"), 60) == content


def test_the_last_secret_signs_and_all_verify() -> None:
    rotated = TokenSigner(["old", "new"], "salt")
    assert [rotated.read(tokens.signed("salt", "abc", secret=secret), 60) for secret in ("old", "new")] == ["abc"] * 2
    assert tokens.content_of("salt", rotated.sign("abc"), secret="new") == "abc"
    with pytest.raises(BadData):
        rotated.read(tokens.signed("salt", "abc", secret="another"), 60)


def test_a_token_of_one_purpose_is_not_valid_for_another() -> None:
    with pytest.raises(BadData):
        TokenSigner(["one"], "salt").read(TokenSigner(["one"], "pepper").sign("abc"), 60)


def test_a_token_expires(at: At) -> None:
    signer = TokenSigner(["one"], "salt")
    token = signer.sign("abc")
    at(58)
    assert signer.read(token, 60) == "abc"
    at(62)
    with pytest.raises(SignatureExpired):
        signer.read(token, 60)


def test_a_token_has_the_time_of_its_signature() -> None:
    signer = TokenSigner(["one"], "salt")
    content, signed_at = signer.read_with_time(tokens.signed("salt", "abc", age_s=30, secret="one"), 60)
    assert content == "abc"
    assert time.time() - signed_at.timestamp() == pytest.approx(30, abs=5)


@pytest.mark.parametrize("token", ["", "x", "a.b.c", tokens.signed("salt", "abc")[:-1], "\x00\xff", "é"])
def test_a_broken_token_is_refused(token: str) -> None:
    signer = TokenSigner([identity.DEVELOPMENT_SECRET], "salt")
    for read in (signer.read, signer.read_with_time):
        with pytest.raises(BadData):
            read(token, 60)


def test_a_session_cookie_gives_its_session() -> None:
    assert READER.session_of(tokens.session_cookie("abc")) == "abc"


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        "abc",
        "a.b.c",
        tokens.session_cookie("abc")[:-1],
        tokens.session_cookie("abc", secret="another"),
        tokens.session_cookie("abc", age_s=identity.SESSION_TTL_S + 5),
        tokens.signed(identity.TICKET_SALT, "abc"),
        tokens.signed(identity.SESSION_SALT, {"sub": "abc"}),
        tokens.signed(identity.SESSION_SALT, None),
        "\x00\xff",
    ],
)
def test_a_forged_or_old_cookie_gives_none(cookie: str) -> None:
    assert READER.session_of(cookie) is None
