import hashlib
from datetime import UTC, datetime
from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest
from itsdangerous import TimestampSigner, URLSafeTimedSerializer

from gifchat_contracts import errors
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


async def test_signing_out_revokes_the_session_and_takes_the_cookie(alice: httpx.AsyncClient, rooms_api: Any) -> None:
    me = (await alice.get("/api/v1/session")).json()
    cookie = alice.cookies["gifchat_session"]
    answer = await alice.delete("/api/v1/session")
    assert (answer.status_code, answer.content) == (204, b"")
    morsel = SimpleCookie(answer.headers["set-cookie"])["gifchat_session"]
    assert (morsel.value, morsel["max-age"], morsel["path"]) == ("", "0", "/")
    assert rooms_api.signed_out == [me["user_id"]]
    assert "gifchat_session" not in alice.cookies

    page = await alice.get("/", headers={"cookie": f"gifchat_session={cookie}"})
    assert me["color"] not in page.text, "a copy of the cookie is nobody's"
    assert "gifchat_session" in page.headers["set-cookie"]
    alice.cookies.clear()
    again = await alice.delete("/api/v1/session", headers={"cookie": f"gifchat_session={cookie}"})
    assert again.status_code == 204


async def test_a_session_that_is_revoked_already_is_no_error(alice: httpx.AsyncClient, rooms_api: Any) -> None:
    rooms_api.signed_out.append((await alice.get("/api/v1/session")).json()["user_id"])
    answer = await alice.delete("/api/v1/session")
    assert answer.status_code == 204
    assert "gifchat_session=;" in answer.headers["set-cookie"]


async def test_a_browser_can_forget_its_session_alone(alice: httpx.AsyncClient, rooms_api: Any) -> None:
    me = (await alice.get("/api/v1/session")).json()
    cookie = alice.cookies["gifchat_session"]
    assert (await alice.delete("/api/v1/session", params={"everywhere": "false"})).status_code == 204
    assert "gifchat_session" not in alice.cookies
    assert rooms_api.signed_out == []
    assert (await alice.get("/api/v1/session", headers={"cookie": f"gifchat_session={cookie}"})).json() == me


async def test_a_failed_revocation_keeps_the_cookie_for_the_next_attempt(
    alice: httpx.AsyncClient, rooms_api: Any
) -> None:
    await alice.get("/api/v1/session")
    rooms_api.outage = errors.UNAVAILABLE
    answer = await alice.delete("/api/v1/session")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "set-cookie" not in answer.headers


async def test_another_value_of_everywhere_is_refused(alice: httpx.AsyncClient, rooms_api: Any) -> None:
    answer = await alice.delete("/api/v1/session", params={"everywhere": "perhaps"})
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert rooms_api.signed_out == []


async def test_another_site_cannot_sign_a_user_out(alice: httpx.AsyncClient, rooms_api: Any) -> None:
    await alice.get("/api/v1/session")
    answer = await alice.delete("/api/v1/session", headers={"origin": "https://foreign.example"})
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_refused")
    assert rooms_api.signed_out == []
