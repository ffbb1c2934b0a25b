"""The operators' routes, in a separate application."""

import asyncio
import gc
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette

from gifchat_chassis.problems import problem_body
from gifchat_contracts import errors
from gifchat_contracts.errors import ErrorCode
from gifchat_realtime_gateway.http.admin import admin_routes
from gifchat_testkit.virtual_time import settle

TOKEN = "the operators' token"
DRAIN, SHED = "/internal/v1/drain", "/internal/v1/shed"


class Node:
    """Records the calls, and works until `may_end` is set."""

    def __init__(self) -> None:
        self.begun: list[str | float] = []
        self.ended: list[str | float] = []
        self.may_end = asyncio.Event()

    async def drain(self) -> None:
        await self.work("drain")

    async def shed(self, share: float) -> None:
        await self.work(share)

    async def work(self, what: str | float) -> None:
        self.begun.append(what)
        await self.may_end.wait()
        self.ended.append(what)


def client(node: Node, token: str = TOKEN) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(Starlette(routes=admin_routes(node.drain, node.shed, token)))
    return httpx.AsyncClient(
        transport=transport, base_url="http://test", headers={b"Authorization": f"Bearer {token}".encode()}
    )


@pytest.fixture
async def node() -> Node:
    return Node()


@pytest.fixture
async def http(node: Node) -> AsyncIterator[httpx.AsyncClient]:
    async with client(node) as http:
        yield http


def is_refused(answer: httpx.Response, code: ErrorCode) -> bool:
    assert answer.headers["content-type"] == "application/problem+json"
    return (answer.status_code, answer.json()) == (code.status, problem_body(code, "en", answer.request.url.path))


async def test_drain_answers_at_once_and_continues(node: Node, http: httpx.AsyncClient) -> None:
    answer = await http.post(DRAIN)
    assert (answer.status_code, answer.json()) == (202, {"ok": True})
    await settle()
    assert (node.begun, node.ended) == (["drain"], [])
    node.may_end.set()
    await settle()
    assert node.ended == ["drain"]


@pytest.mark.parametrize("share", [0.001, 0.3, 1, 1.0])
async def test_shed_passes_on_the_share(node: Node, http: httpx.AsyncClient, share: float) -> None:
    answer = await http.post(SHED, json={"share": share, "more": "is ignored"})
    assert (answer.status_code, answer.json()) == (202, {"ok": True})
    await settle()
    assert (node.begun, node.ended) == ([share], [])


async def test_a_running_drain_is_not_garbage_collected(http: httpx.AsyncClient) -> None:
    """A task may be collected if only the future that it awaits refers to it."""
    ended: list[str] = []

    async def wait_forever() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append("too early")

    node = Node()
    node.drain = wait_forever  # type: ignore[method-assign]
    async with client(node) as http:
        await http.post(DRAIN)
        await settle()
        gc.collect()
        assert ended == []


@pytest.mark.parametrize("path", [DRAIN, SHED])
@pytest.mark.parametrize(
    "given", [None, b"", b"Bearer", b"Bearer another", TOKEN.encode(), f"Basic {TOKEN}".encode(), b"Bearer \xff"]
)
async def test_requests_without_the_token_are_refused(
    node: Node, http: httpx.AsyncClient, path: str, given: bytes | None
) -> None:
    del http.headers["Authorization"]
    headers = {} if given is None else {b"Authorization": given}
    answer = await http.post(path, json={"share": 1.0}, headers=headers)
    assert is_refused(answer, errors.INTERNAL_ONLY)
    await settle()
    assert node.begun == []


async def test_a_token_may_contain_any_characters(node: Node) -> None:
    async with client(node, "토큰") as http:
        assert (await http.post(DRAIN)).status_code == 202


@pytest.mark.parametrize("content", [b"", b"share=1", b'{"share":', b"\xff", b"[" * 100_000])
async def test_a_body_that_is_not_json_is_refused(node: Node, http: httpx.AsyncClient, content: bytes) -> None:
    assert is_refused(await http.post(SHED, content=content), errors.MALFORMED)
    await settle()
    assert node.begun == []


@pytest.mark.parametrize(
    "content",
    [
        "null",
        "0.3",
        "[0.3]",
        "{}",
        '{"share":null}',
        '{"share":"0.3"}',
        '{"share":true}',
        '{"share":0}',
        '{"share":-0.3}',
        '{"share":1.001}',
        '{"share":NaN}',
        '{"share":Infinity}',
        '{"share":-Infinity}',
        '{"share":1e999}',
        '{"share":-1e999}',
        "NaN",
        "1e999",
    ],
)
async def test_an_invalid_share_is_refused(node: Node, http: httpx.AsyncClient, content: str) -> None:
    assert is_refused(await http.post(SHED, content=content), errors.VALIDATION_FAILED)
    await settle()
    assert node.begun == []


@pytest.mark.parametrize("path", [DRAIN, SHED])
async def test_get_starts_nothing(node: Node, http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path)).status_code == 405
    await settle()
    assert node.begun == []
