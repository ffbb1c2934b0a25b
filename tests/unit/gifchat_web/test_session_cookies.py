import hashlib
from datetime import UTC, datetime
from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest
from itsdangerous import TimestampSigner, URLSafeTimedSerializer

from gifchat_contracts.identity import SESSION_SALT, SESSION_TTL_S, Identity
from gifchat_web.http.session_cookies import SessionCookies

OLD, NEW = "old-secret", "new-secret"


def cookies(*secrets: str) -> SessionCookies:
    return SessionCookies(secrets, secure=False)


def test_a_session_can_be_read_with_the_secret() -> None:
    issued = cookies(NEW).issue()
    assert issued.fresh
    read = cookies(OLD, NEW).read(issued.cookie)
    assert read
    assert (read.identity, read.cookie, read.fresh) == (issued.identity, issued.cookie, False)


def test_two_sessions_are_two_users() -> None:
    assert cookies(NEW).issue().identity != cookies(NEW).issue().identity


def test_a_cookie_with_an_older_secret_is_signed_again_for_the_same_user() -> None:
    issued = cookies(OLD).issue()
    read = cookies(OLD, NEW).read(issued.cookie)
    assert read
    assert read.fresh
    assert read.identity == issued.identity
    renewed = cookies(NEW).read(read.cookie)
    assert renewed
    assert renewed.identity == issued.identity


@pytest.mark.parametrize("cookie", [None, "", "nonsense", "a.b.c"])
def test_an_unsigned_cookie_is_not_a_session(cookie: str | None) -> None:
    assert cookies(NEW).read(cookie) is None


def test_a_cookie_with_a_wrong_signature_secret_or_salt_is_not_a_session() -> None:
    issued = cookies(NEW).issue()
    assert cookies(NEW).read(issued.cookie[:-2] + "xx") is None
    assert cookies(OLD).read(issued.cookie) is None
    other_salt = URLSafeTimedSerializer([NEW], salt="gifchat.ticket").dumps("id")
    assert cookies(NEW).read(str(other_salt)) is None


def _at(monkeypatch: pytest.MonkeyPatch, age_s: float) -> str:
    """Return a cookie that was signed `age_s` ago."""
    now = datetime.now(UTC).timestamp()
    with monkeypatch.context() as patch:
        patch.setattr(TimestampSigner, "get_timestamp", lambda _self: int(now - age_s))
        return cookies(NEW).issue().cookie


def test_a_cookie_is_renewed_before_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    half_spent = cookies(NEW).read(_at(monkeypatch, SESSION_TTL_S / 2 + 60))
    assert half_spent
    assert half_spent.fresh
    young = cookies(NEW).read(_at(monkeypatch, 60))
    assert young
    assert not young.fresh
    assert cookies(NEW).read(_at(monkeypatch, SESSION_TTL_S + 60)) is None


def test_other_services_can_read_the_cookie() -> None:
    issued = cookies(OLD, NEW).issue()
    serializer = URLSafeTimedSerializer(
        [NEW],
        salt=SESSION_SALT,
        signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
    )
    assert Identity.of_session(serializer.loads(issued.cookie, max_age=SESSION_TTL_S)) == issued.identity


def test_scripts_and_other_sites_cannot_use_the_cookie() -> None:
    for secure in (False, True):
        session_cookies = SessionCookies([NEW], secure=secure)
        morsel = SimpleCookie(session_cookies.set_cookie_header(session_cookies.issue()))["gifchat_session"]
        assert morsel["httponly"]
        assert (morsel["samesite"], morsel["path"], bool(morsel["secure"])) == ("Lax", "/", secure)


async def test_the_first_page_gives_a_session_and_the_next_keeps_it(alice: httpx.AsyncClient) -> None:
    first = await alice.get("/")
    assert "gifchat_session" in first.headers["set-cookie"]
    assert "set-cookie" not in (await alice.get("/room")).headers


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_session_route_says_who_the_caller_is(alice: httpx.AsyncClient, method: str) -> None:
    first = await alice.request(method, "/api/v1/session")
    assert first.status_code == 200
    assert first.json().keys() == {"user_id", "color"}
    assert first.headers["cache-control"] == "no-store"
    assert (await alice.request(method, "/api/v1/session")).json() == first.json()


async def test_files_and_probes_give_no_session(alice: httpx.AsyncClient) -> None:
    for path in ("/static/x/js/main.js", "/health/live", "/health/ready", "/metrics"):
        answer = await alice.get(path)
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers


async def test_a_forged_cookie_is_replaced(alice: httpx.AsyncClient, rooms_api: Any) -> None:
    answer = await alice.get("/", headers={"cookie": 'gifchat_session="forged"; other=1; ;=;'})
    assert answer.status_code == 200
    assert "gifchat_session" in answer.headers["set-cookie"]
