"""A `DirectRoute` answers every request like a plain FastAPI route with the same declaration."""

import json
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from gifchat_rooms_api.http.deps import Membership
from gifchat_rooms_api.http.direct_route import DirectRoute
from gifchat_rooms_api.http.message_schemas import PostGif, PostText, RoomIdText
from gifchat_rooms_api.http.problems import answer_with_problems

ROOM = "a" * 24
JSON = {"content-type": "application/json"}
TEXT = {"client_message_id": "k", "text": "hello"}


async def caller(request: Request, x_user: Annotated[str | None, Header()] = None) -> str:
    """Return who calls, as the session does."""
    return x_user or request.headers.get("cookie", "nobody")


async def greeting(room_id: RoomIdText, user: Annotated[str, Depends(caller)]) -> str:
    """Depend on a parameter of the route and on another dependency."""
    return f"{user} in {room_id}"


async def write(
    room_id: RoomIdText,
    body: PostText | PostGif,
    says: Annotated[str, Depends(greeting)],
    membership: Membership = None,
) -> Response:
    """Post."""
    return JSONResponse([room_id, ascii(body), says, membership], 201)


async def read(
    room_id: RoomIdText,
    at: Annotated[int, Query(ge=1, le=5)],
    before: Annotated[int | None, Query(ge=1)] = None,
    limit: Annotated[int, Query(ge=1, le=10, alias="max")] = 3,
) -> Response:
    """Read."""
    return JSONResponse([room_id, at, before, limit])


def app_of(route_class: type[APIRoute]) -> FastAPI:
    app = FastAPI()
    answer_with_problems(app)
    for method, endpoint in (("POST", write), ("GET", read)):
        app.router.add_api_route("/{room_id}", endpoint, methods=[method], route_class_override=route_class)
    return app


async def answer(route_class: type[APIRoute], method: str, path: str, **request: Any) -> tuple[int, Any]:
    transport = httpx.ASGITransport(app_of(route_class))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        response = await client.request(method, path, **request)
        return response.status_code, response.json()


BODIES: list[bytes] = [
    json.dumps(TEXT).encode(),
    json.dumps({"client_message_id": "k", "gif": "0" * 64}).encode(),
    json.dumps(TEXT | {"more": 1}).encode(),
    json.dumps({"client_message_id": "!", "text": ""}).encode(),
    json.dumps({"client_message_id": 1, "text": None}).encode(),
    b'{"client_message_id":"k","text":"\\ud800"}',
    b'{"client_message_id":"k","text":NaN}',
    b"[1]",
    b"null",
    b"{",
    b"\xff",
    b"",
    b"[" * 50_000,
]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(
    "headers",
    [
        JSON,
        {"content-type": "application/json; charset=utf-8"},
        {"content-type": "application/problem+json"},
        {"content-type": "APPLICATION/JSON"},
        {"content-type": "text/plain"},
        {},
        JSON | {"x-user": "anne", "x-gifchat-membership": "token"},
        JSON | {"cookie": "a=b", "x-gifchat-membership": "x" * 2_000},
    ],
)
async def test_bodies_and_headers(body: bytes, headers: dict[str, str]) -> None:
    request = {"content": body, "headers": headers}
    expected = await answer(APIRoute, "POST", f"/{ROOM}", **request)
    assert await answer(DirectRoute, "POST", f"/{ROOM}", **request) == expected


@pytest.mark.parametrize("room", [ROOM, "A" * 24, "short"])
@pytest.mark.parametrize(
    "query", ["", "at=1", "at=", "at=6", "at=1&at=2", "at=2&before=0", "at=2&before=9&max=10", "at=1&max=11", "at=%ff"]
)
async def test_paths_and_queries(room: str, query: str) -> None:
    path = f"/{room}?{query}"
    assert await answer(DirectRoute, "GET", path) == await answer(APIRoute, "GET", path)


def test_the_documents_are_the_same() -> None:
    assert app_of(DirectRoute).openapi() == app_of(APIRoute).openapi()


async def test_a_valid_request_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async def long_way(_request: Request) -> Response:
        raise AssertionError("FastAPI's own handler was called")

    monkeypatch.setattr(APIRoute, "get_route_handler", lambda _route: long_way)
    assert (await answer(DirectRoute, "POST", f"/{ROOM}", json=TEXT))[0] == 201
    assert (await answer(DirectRoute, "GET", f"/{ROOM}?at=1"))[0] == 200


def test_a_declaration_that_the_short_way_cannot_serve_is_refused() -> None:
    async def endpoint(response: Response) -> Response:
        return response

    with pytest.raises(TypeError, match="plain FastAPI route"):
        FastAPI().router.add_api_route("/", endpoint, route_class_override=DirectRoute)
