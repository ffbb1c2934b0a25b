"""HTTP methods on every path but the engine's: HEAD is GET without a body, and a 405 lists the allowed methods."""

import asyncio
import http.client
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.routing import Mount, Route, WebSocketRoute

from gifchat_cli.servers.valkey import mark_as_new
from gifchat_realtime_gateway.app import create_gateway
from gifchat_realtime_gateway.http.client_bundle import ClientBundle
from gifchat_realtime_gateway.settings import Settings
from gifchat_testkit.services import Service, running_service

pytestmark = pytest.mark.servers

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
CHANGING_NUMBERS = {"/metrics"}


def allowed_methods() -> dict[str, set[str]]:
    """Methods by path. The engine's route lists none, because the engine checks methods itself."""

    async def create() -> Any:
        return create_gateway(Settings()).app

    bundle = asyncio.run(create())
    assert isinstance(bundle, ClientBundle)
    routes = [*bundle._routes.values(), *bundle._app.other_asgi_app.routes]  # type: ignore[attr-defined]
    [mount] = [route for route in routes if isinstance(route, Mount)]
    routes += mount.routes
    assert [route.path for route in routes if isinstance(route, WebSocketRoute)] == ["/ws"]
    return {route.path: route.methods for route in routes if isinstance(route, Route) and route.methods}


ALLOWED = allowed_methods()


@pytest.fixture(scope="module")
def gateway(valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    mark_as_new(valkey_url)
    with running_service(
        "gifchat_realtime_gateway", tmp_path_factory.mktemp("gateway"), REDIS_URL=valkey_url
    ) as service:
        yield service


@pytest.fixture
def connection(gateway: Service) -> Iterator[http.client.HTTPConnection]:
    """All requests share one connection, so a body after a HEAD response would corrupt the next response."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    yield connection
    connection.close()


def ask(connection: http.client.HTTPConnection, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    return answer.status, {name.lower(): value for name, value in answer.getheaders() if name.lower() != "date"}, body


@pytest.mark.parametrize("path", [path for path, methods in ALLOWED.items() if "GET" in methods])
def test_head_returns_the_headers_of_get_without_a_body(connection: http.client.HTTPConnection, path: str) -> None:
    for _ in range(2):
        status, headers, body = ask(connection, "GET", path)
        assert (status, int(headers["content-length"])) == (200, len(body))
        status, of_head, body = ask(connection, "HEAD", path)
        assert (status, body) == (200, b"")
        if path not in CHANGING_NUMBERS:
            assert of_head == headers


@pytest.mark.parametrize("path", ALLOWED)
def test_a_405_lists_every_method_of_the_path(connection: http.client.HTTPConnection, path: str) -> None:
    for method in METHODS - ALLOWED[path]:
        status, headers, _ = ask(connection, method, path)
        assert status == 405, method
        assert set(headers["allow"].split(", ")) == ALLOWED[path], method


def test_head_of_an_unknown_path_is_404(connection: http.client.HTTPConnection) -> None:
    assert ask(connection, "HEAD", "/nowhere")[0] == 404
    assert ask(connection, "GET", "/health/live")[0] == 200
