import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gifchat_chassis.revocations import RevocationsUnavailableError
from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import RoomId
from gifchat_web.adapters.rooms_api_client import RoomsApiClient
from gifchat_web.ports import Caller

ROOM = RoomId("65f0c0ffee0123456789abcd")
CALLER = Caller("signed", "203.0.113.9", "ko")


class RoomsApiServer:
    """A server on loopback that gives `answers` in turn and records what it was asked."""

    def __init__(self) -> None:
        self.answers: list[web.Response] = []
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self.server = TestServer(app)

    async def _answer(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append((request.method, request.path_qs, headers, await request.read()))
        return self.answers.pop(0)


@pytest.fixture
async def server() -> AsyncIterator[RoomsApiServer]:
    rooms_api = RoomsApiServer()
    async with rooms_api.server:
        yield rooms_api


@pytest.fixture
async def client(server: RoomsApiServer) -> AsyncIterator[RoomsApiClient]:
    async with RoomsApiClient(str(server.server.make_url("/")), "token") as client:
        yield client


def ok(value: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response(value, status=status, headers=headers)


def problem(code: errors.ErrorCode, **headers: str) -> web.Response:
    body = json.dumps({"code": code.code})
    return web.Response(text=body, status=code.status, headers=headers, content_type="application/problem+json")


async def test_a_request_carries_the_user_and_no_other_users_cookies(
    server: RoomsApiServer, client: RoomsApiClient
) -> None:
    first = ok({"items": [], "next_cursor": None}, headers={"set-cookie": "leak=1; Path=/"})
    server.answers = [first, ok({"items": [], "next_cursor": "c"})]
    await client.list_rooms(CALLER, query="", sort="newest", cursor=None)
    page = await client.list_rooms(CALLER, query="a b", sort="members", cursor="c&d")
    assert page.next_cursor == "c"
    assert [path for _method, path, _headers, _body in server.asked] == [
        "/api/v1/rooms?sort=newest",
        "/api/v1/rooms?q=a+b&cursor=c%26d&sort=members",
    ]
    for _method, _path, headers, _body in server.asked:
        assert headers["cookie"] == "gifchat_session=signed"
        assert headers["x-forwarded-for"] == "203.0.113.9"
        assert headers["accept-language"] == "ko"
        assert "origin" not in headers


async def test_a_password_is_in_the_body_and_never_in_the_url(server: RoomsApiServer, client: RoomsApiClient) -> None:
    server.answers = [ok({"ticket": "t", "expires_at": "x", "room": {"_id": ROOM}}, 201)]
    assert (await client.admit(CALLER, ROOM, "비밀 &"))["_id"] == ROOM
    [(method, path, _headers, body)] = server.asked
    assert (method, path) == ("POST", f"/api/v1/rooms/{ROOM}/tickets")
    assert json.loads(body) == {"password": "비밀 &"}


async def test_refusals_have_the_code_of_the_contract(server: RoomsApiServer, client: RoomsApiClient) -> None:
    server.answers = [problem(errors.WRONG_PASSWORD), problem(errors.TOO_MANY_ATTEMPTS, **{"retry-after": "42"})]
    with pytest.raises(Refused) as wrong:
        await client.admit(CALLER, ROOM, "x")
    assert (wrong.value.code, wrong.value.retry_after_s) == (errors.WRONG_PASSWORD, None)
    with pytest.raises(Refused) as too_many:
        await client.admit(CALLER, ROOM, "x")
    assert (too_many.value.code, too_many.value.retry_after_s) == (errors.TOO_MANY_ATTEMPTS, 42)


@pytest.mark.parametrize(
    ("status", "content_type", "body", "code"),
    [
        (502, "text/plain", "bad gateway", errors.UNAVAILABLE),
        (200, "text/html", "<html>", errors.UNAVAILABLE),
        (302, "text/plain", "", errors.UNAVAILABLE),
        (404, "application/json", '{"code": "from_the_future"}', errors.NOT_FOUND),
        (422, "application/json", '["not", "a", "problem"]', errors.VALIDATION_FAILED),
    ],
)
async def test_an_unexpected_answer_is_a_refusal(
    server: RoomsApiServer, client: RoomsApiClient, status: int, content_type: str, body: str, code: errors.ErrorCode
) -> None:
    server.answers = [web.Response(text=body, status=status, content_type=content_type)]
    with pytest.raises(Refused) as refused:
        await client.get_room(CALLER, ROOM)
    assert refused.value.code == code


async def test_without_a_server_rooms_api_is_unavailable() -> None:
    async with RoomsApiClient("http://127.0.0.1:1", "token") as client:
        with pytest.raises(Refused) as refused:
            await client.get_room(CALLER, ROOM)
    assert refused.value.code == errors.UNAVAILABLE


async def test_a_message_of_unknown_outcome_is_retried_with_its_key(
    server: RoomsApiServer, client: RoomsApiClient
) -> None:
    server.answers = [problem(errors.OUTCOME_UNKNOWN), ok({}, 201), ok({}, 201)]
    await client.post_text(CALLER, ROOM, "한 번만")
    await client.post_text(CALLER, ROOM, "다른 것")
    keys = [json.loads(body)["client_message_id"] for _method, _path, _headers, body in server.asked]
    assert keys[0] == keys[1] != keys[2]


async def test_a_refused_message_is_not_retried(server: RoomsApiServer, client: RoomsApiClient) -> None:
    server.answers = [problem(errors.MUTED)]
    with pytest.raises(Refused):
        await client.post_text(CALLER, ROOM, "x")
    assert len(server.asked) == 1


async def test_a_gif_is_streamed_with_the_length_that_the_browser_announced(
    server: RoomsApiServer, client: RoomsApiClient
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"--x\r\n"
        yield b"--x--"

    server.answers = [ok({"id": "0" * 64}, 201), web.Response(status=204)]
    assert await client.upload_gif(CALLER, ROOM, "multipart/form-data; boundary=x", "10", body()) == "0" * 64
    [(_method, path, headers, received)] = server.asked
    assert path == f"/api/v1/rooms/{ROOM}/gifs"
    assert (headers["content-type"], headers["content-length"]) == ("multipart/form-data; boundary=x", "10")
    assert "transfer-encoding" not in headers
    assert received == b"--x\r\n--x--"
    await client.remove_room(CALLER, ROOM)


async def test_the_first_chunk_of_a_gif_is_sent_before_the_last_is_read() -> None:
    arrived = asyncio.Event()

    async def receive(request: web.Request) -> web.Response:
        await request.content.readany()
        arrived.set()
        await request.read()
        return ok({"id": "0" * 64}, 201)

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await arrived.wait()
        yield b"last"

    app = web.Application()
    app.router.add_post("/{path:.*}", receive)
    async with (
        TestServer(app) as server,
        RoomsApiClient(str(server.make_url("/")), "token") as client,
        asyncio.timeout(5),
    ):
        await client.upload_gif(CALLER, ROOM, "multipart/form-data; boundary=x", None, body())


async def test_an_upload_that_rooms_api_does_not_read_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gifchat_web.adapters.rooms_api_client.UPLOAD_TIMEOUT_S", 0.1)
    let_go = asyncio.Event()

    async def stall(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await let_go.wait()
        writer.close()

    async def body() -> AsyncIterator[bytes]:
        for _ in range(1_000):
            yield bytes(64 * 1024)

    server = await asyncio.start_server(stall, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, RoomsApiClient(f"http://127.0.0.1:{port}", "token") as client, asyncio.timeout(5):
        with pytest.raises(Refused) as refused:
            await client.upload_gif(CALLER, ROOM, "multipart/form-data; boundary=x", None, body())
        let_go.set()
    assert refused.value.code == errors.UNAVAILABLE


async def test_revocations_are_read_with_the_internal_token() -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer token"
        assert request.query["since_ms"] == "7"
        return web.json_response({"revoked": [["a" * 24, 9]]})

    app = web.Application()
    app.router.add_get("/internal/v1/revocations", answer)
    async with TestServer(app) as server, RoomsApiClient(str(server.make_url("/")), "token") as client:
        assert await client.revocations(7) == [("a" * 24, 9)]


@pytest.mark.parametrize(("status", "body"), [(401, "{}"), (200, "<html>"), (200, "{}")])
async def test_unreadable_revocations_are_unavailable(status: int, body: str) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, text=body, content_type="application/json")

    app = web.Application()
    app.router.add_get("/internal/v1/revocations", answer)
    async with TestServer(app) as server, RoomsApiClient(str(server.make_url("/")), "token") as client:
        with pytest.raises(RevocationsUnavailableError):
            await client.revocations(0)
