from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

from gifchat_contracts import errors

ORIGIN = "http://chat.test"
ROOM = f"/room/{1:024x}"
CHANGES = [
    ("POST", "/room"),
    ("POST", f"{ROOM}/password"),
    ("POST", f"{ROOM}/chat"),
    ("POST", f"{ROOM}/gif"),
    ("DELETE", ROOM),
    ("POST", "/api/v1/session"),
]
ROUTES = [*CHANGES, ("GET", "/"), ("GET", "/room"), ("GET", ROOM), ("GET", "/nowhere"), ("GET", "/health/ready"),
          ("GET", "/metrics"), ("GET", "/static/x/js/main.js"), ("GET", "/static/x/nothing"), ("PUT", "/")]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_every_answer_has_the_strict_headers(alice: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await alice.request(method, path)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:;")
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "strict-origin"


async def test_the_answer_to_a_crash_has_the_strict_headers(alice: httpx.AsyncClient, rooms_api: Any) -> None:
    rooms_api.rooms = None
    answer = await alice.get("/")
    assert answer.status_code == 500
    assert "content-security-policy" in answer.headers
    assert errors.INTERNAL.text("ko") in answer.text
    assert "AttributeError" not in answer.text


@pytest.mark.parametrize(("method", "path"), CHANGES)
@pytest.mark.parametrize(
    "origin",
    ["http://evil.test", "null", "http://chat.test.evil.test", "http://chat.test:8080", "https://chat.test", ""],
)
async def test_a_foreign_origin_cannot_change_anything(
    alice: httpx.AsyncClient, rooms_api: Any, method: str, path: str, origin: str
) -> None:
    headers = {"origin": origin, "accept": "application/json"}
    answer = await alice.request(method, path, headers=headers, data={"title": "x", "chat": "x", "password": "x"})
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_refused")
    assert not rooms_api.callers


@pytest.mark.parametrize(("method", "path"), CHANGES)
@pytest.mark.parametrize("origins", [(ORIGIN, ORIGIN), (ORIGIN, "http://evil.test"), ("http://evil.test", ORIGIN)])
async def test_a_request_with_two_origins_is_refused(
    alice: httpx.AsyncClient, rooms_api: Any, method: str, path: str, origins: tuple[str, str]
) -> None:
    headers = [("accept", "application/json"), *(("origin", origin) for origin in origins)]
    answer = await alice.request(method, path, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_refused")
    assert not rooms_api.callers


@pytest.mark.parametrize("headers", [{}, {"origin": ORIGIN}])
async def test_our_own_origin_and_a_missing_one_are_allowed(alice: httpx.AsyncClient, headers: dict[str, str]) -> None:
    assert (await alice.post("/room", data={"title": "x"}, headers=headers)).status_code == 302


async def test_no_page_has_inline_scripts_or_styles(alice: httpx.AsyncClient) -> None:
    await alice.post("/room", data={"title": '</script><img src=x onerror="alert(1)">', "password": "p"})
    stranger_page = await alice.get("/", headers={"cookie": ""})
    pages = [stranger_page, *[await alice.get(path) for path in ("/", "/room", ROOM, "/nowhere")]]
    for page in pages:
        elements = Elements()
        elements.feed(page.text)
        assert not any(name == "style" or name.startswith("on") for _tag, names in elements.found for name in names)
        assert not any(tag == "style" for tag, _names in elements.found)
        scripts = [names for tag, names in elements.found if tag == "script"]
        assert len(scripts) == 2
        assert scripts[0]["type"] == "application/json"
        assert (scripts[1].get("src") or "").startswith("/static/")


class Elements(HTMLParser):
    """Collects every element with its attributes, as a browser would see them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
