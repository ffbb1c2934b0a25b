import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from gifchat_chassis.http_methods import Methods


async def answer(request: Request) -> Response:
    return PlainTextResponse(headers={"X-Method": request.method})


APP = Starlette(
    routes=[
        # Like FastAPI's routes: one for each method, and GET without the HEAD that Starlette adds.
        *(Route("/rooms", answer, methods=[method]) for method in ("GET", "POST")),
        Route("/rooms/{room_id}", answer, methods=["DELETE"]),
        Mount("/static", routes=[Route("/file", answer, methods=["GET"])]),
    ]
)
for route in APP.routes[:1]:
    assert isinstance(route, Route)
    route.methods = {"GET"}


async def ask(method: str, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(Methods(APP, APP.routes))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.request(method, path)


async def test_head_is_answered_as_get() -> None:
    head = await ask("HEAD", "/rooms")
    assert (head.status_code, head.headers["x-method"]) == (200, "GET")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/rooms", "GET, HEAD, POST"),
        ("BREW", "/rooms", "GET, HEAD, POST"),
        ("HEAD", "/rooms/1", "DELETE"),
        ("POST", "/static/file", "GET, HEAD"),
    ],
)
async def test_a_405_lists_every_method_of_the_path(method: str, path: str, allow: str) -> None:
    refused = await ask(method, path)
    assert (refused.status_code, refused.headers["allow"]) == (405, allow)


async def test_an_unknown_path_is_404() -> None:
    assert (await ask("HEAD", "/nowhere")).status_code == 404
