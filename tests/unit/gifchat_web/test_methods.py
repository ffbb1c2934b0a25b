"""Every path of the service: HEAD is GET without a body, and a 405 lists the allowed methods."""

import http.client
from collections import defaultdict
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from gifchat_chassis.answer_headers import AnswerHeaders
from gifchat_chassis.http_methods import METHODS, Methods
from gifchat_chassis.request_metrics import RequestMetrics
from gifchat_testkit.services import running_service
from gifchat_web.app import create_app
from gifchat_web.http.security_headers import SecurityHeaders
from gifchat_web.http.session_cookies import Sessions
from gifchat_web.settings import Settings

MADE_UP = "BREW"


def application() -> Starlette:
    """Return the application inside its middleware."""
    app = create_app(Settings())
    for layer in (SecurityHeaders, AnswerHeaders, RequestMetrics, Sessions, Methods):
        assert isinstance(app, layer)
        app = app._app
    assert isinstance(app, Starlette)
    return app


def allowed_methods() -> dict[str, set[str]]:
    """Return the methods of every path, with HEAD."""
    found: dict[str, set[str]] = defaultdict(set)
    for route in application().routes:
        assert isinstance(route, Route)
        found[route.path] |= route.methods or set()
    return dict(found)


ALLOWED = allowed_methods()


def url(path: str) -> str:
    return path.replace("{path:path}", "js/main.js").format(room_id="1" * 24, version="x")


@pytest.mark.parametrize("path", [path for path, methods in ALLOWED.items() if "GET" in methods])
async def test_head_has_the_headers_of_get_and_no_body(alice: httpx.AsyncClient, path: str) -> None:
    await alice.get("/")
    got, head = await alice.get(url(path)), await alice.head(url(path))
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert got.status_code < 500
    if path != "/metrics":
        assert head.headers == got.headers


@pytest.mark.parametrize("path", ALLOWED)
async def test_a_405_lists_every_method_of_the_path(alice: httpx.AsyncClient, path: str) -> None:
    methods = ALLOWED[path]
    wrong = METHODS - methods | {MADE_UP}
    for method in wrong:
        answer = await alice.request(method, url(path), headers={"accept": "application/json"})
        assert answer.status_code == 405, method
        assert answer.headers["allow"] == ", ".join(sorted(methods)), method
        assert method == "HEAD" or answer.json()["code"] == "method_not_allowed"


async def test_head_of_an_unknown_path_is_404(alice: httpx.AsyncClient) -> None:
    assert (await alice.head("/nowhere")).status_code == 404
    assert (await alice.head("/static/x/nothing.js")).status_code == 404


async def test_head_is_counted_as_head_and_by_its_route(alice: httpx.AsyncClient) -> None:
    await alice.head(url("/room/{room_id}"))
    text = (await alice.get("/metrics")).text
    assert 'http_requests_total{method="HEAD",route="/room/{room_id}",service="web",status="302"}' in text


def test_the_server_sends_no_body_after_the_head(tmp_path: Path) -> None:
    with running_service("gifchat_web", tmp_path) as web:
        connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=10)
        for method in ("HEAD", "GET", "HEAD", "GET"):
            connection.request(method, "/room")
            answer = connection.getresponse()
            assert answer.status == 200
            assert int(answer.headers["content-length"]) > 0
            assert (answer.read() == b"") is (method == "HEAD")
        connection.close()
