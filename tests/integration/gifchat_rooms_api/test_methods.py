"""Every path of the service: HEAD is GET without a body, and a 405 lists the allowed methods."""

from collections import defaultdict
from typing import Any

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from gifchat_chassis.http_methods import METHODS
from gifchat_chassis.secret_rules import DEVELOPMENT_TOKEN
from gifchat_rooms_api.app import create_app
from gifchat_rooms_api.settings import Settings
from gifchat_testkit.pictures import picture

from .conftest import Api

pytestmark = pytest.mark.servers

MADE_UP = "BREW"


def allowed_methods() -> dict[str, set[str]]:
    """Return the methods of every path."""
    found: dict[str, set[str]] = defaultdict(set)
    for route in iter_route_contexts(create_app(Settings()).routes):
        assert route.path is not None
        found[route.path] |= route.methods or set()
    return found


ALLOWED = allowed_methods()


@pytest.fixture
async def filled(api: Api) -> tuple[httpx.AsyncClient, dict[str, Any]]:
    """A client with all permissions, and the values for the paths' parameters."""
    anne = await api.user("anne")
    room_id = (await anne.room())["_id"]
    message = await anne.http.post(f"/rooms/{room_id}/messages", json={"client_message_id": "k", "text": "hi"})
    gif = await anne.http.post(f"/rooms/{room_id}/gifs", files={"gif": picture("gif")})
    headers = {"Authorization": f"Bearer {DEVELOPMENT_TOKEN}"}
    client = await api.client("http://test", headers=headers, cookies=anne.http.cookies)
    file = gif.json()["file"].partition("/")[2]
    names = {"room_id": room_id, "user_id": "1" * 24, "seq": message.json()["seq"], "file": file}
    return client, names


@pytest.mark.parametrize("path", [path for path, methods in ALLOWED.items() if "GET" in methods])
async def test_head_has_the_headers_of_get_and_no_body(
    filled: tuple[httpx.AsyncClient, dict[str, Any]], path: str
) -> None:
    client, names = filled
    url = path.format(**names)
    got, head = await client.get(url), await client.head(url)
    assert got.status_code == 200
    assert (head.status_code, head.content) == (200, b"")
    if path != "/metrics":
        assert head.headers == got.headers


@pytest.mark.parametrize("path", ALLOWED)
async def test_a_405_lists_every_method_of_the_path(
    filled: tuple[httpx.AsyncClient, dict[str, Any]], path: str
) -> None:
    client, names = filled
    methods = ALLOWED[path] | ({"HEAD"} if "GET" in ALLOWED[path] else set())
    for method in METHODS - methods | {MADE_UP}:
        answer = await client.request(method, path.format(**names))
        assert answer.status_code == 405, method
        assert answer.headers["allow"] == ", ".join(sorted(methods)), method
        assert method == "HEAD" or answer.json()["code"] == "method_not_allowed"


async def test_head_of_a_refusal_has_its_status(api: Api) -> None:
    stranger = await api.client("http://test")
    assert (await stranger.head("/api/v1/nothing")).status_code == 404
    assert (await stranger.head(f"/api/v1/rooms/{'0' * 24}")).status_code == 404
    assert (await stranger.head(f"/internal/v1/rooms/{'0' * 24}")).status_code == 401


async def test_head_ignores_a_range(filled: tuple[httpx.AsyncClient, dict[str, Any]]) -> None:
    client, names = filled
    answer = await client.head(f"/gif/{names['room_id']}/{names['file']}", headers={"Range": "bytes=0-1"})
    assert answer.status_code == 200


async def test_head_is_counted_as_head_and_by_its_route(filled: tuple[httpx.AsyncClient, dict[str, Any]]) -> None:
    client, names = filled
    await client.head(f"/api/v1/rooms/{names['room_id']}")
    text = (await client.get("/metrics")).text
    assert 'http_requests_total{method="HEAD",route="/api/v1/rooms/{room_id}",service="rooms-api",status="200"}' in text


def test_the_openapi_document_has_no_head() -> None:
    operations = [set(item) for item in create_app(Settings()).openapi()["paths"].values()]
    assert operations
    assert not any("head" in methods for methods in operations)
