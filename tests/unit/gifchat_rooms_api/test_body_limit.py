from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gifchat_rooms_api.http.body_limit import BodyLimit


async def count(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


APP = Starlette(routes=[Route("/{name}", count, methods=["POST"])])
LIMITED = Starlette(routes=APP.routes)
LIMITED.add_middleware(BodyLimit, max_bytes=lambda path: 20 if path == "/gifs" else 10)


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size):
        yield b"x"


@pytest.mark.parametrize(
    ("path", "size", "status"), [("/text", 10, 200), ("/text", 11, 413), ("/gifs", 20, 200), ("/gifs", 21, 413)]
)
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_larger_than_its_path_allows_is_refused(path: str, size: int, status: int, chunked: bool) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(LIMITED), base_url="http://test") as client:
        content = chunks(size) if chunked else b"x" * size
        answer = await client.post(path, content=content)
    assert answer.status_code == status
    assert status == 413 or answer.text == str(size)
