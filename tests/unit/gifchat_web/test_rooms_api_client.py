import json
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from gifchat_contracts import errors
from gifchat_contracts.ids import RoomId
from gifchat_web.adapters.rooms_api_client import RoomsApiClient
from gifchat_web.ports import Caller, RoomsApiError

ROOM = RoomId("65f0c0ffee0123456789abcd")
CALLER = Caller("signed", "203.0.113.9", "ko")


class Server:
    """Answers in turn with `answers`, and remembers what it was asked."""

    def __init__(self, *answers: Response) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []

    async def __call__(self, request: Request) -> Response:
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        self.asked.append((request.method, path, dict(request.headers), await request.body()))
        return self.answers.pop(0)

    def client(self) -> RoomsApiClient:
        methods = ["GET", "POST", "DELETE"]
        app = Starlette(routes=[Route("/{path:path}", self._endpoint, methods=methods)])
        return RoomsApiClient("http://rooms-api.test", httpx.ASGITransport(app))

    async def _endpoint(self, request: Request) -> Response:
        return await self(request)


def problem(code: errors.ErrorCode, **headers: str) -> JSONResponse:
    return JSONResponse({"code": code.code}, code.status, headers, media_type="application/problem+json")


async def test_a_request_carries_the_user_and_nothing_of_other_users() -> None:
    first = JSONResponse({"items": [], "next_cursor": None}, headers={"set-cookie": "leak=1; Path=/"})
    server = Server(first, JSONResponse({"items": [], "next_cursor": "c"}))
    client = server.client()
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


async def test_a_password_is_in_the_body_and_never_in_the_url() -> None:
    server = Server(JSONResponse({"ticket": "t", "expires_at": "x", "room": {"_id": ROOM}}, 201))
    assert (await server.client().admit(CALLER, ROOM, "비밀 &"))["_id"] == ROOM
    [(method, path, _headers, body)] = server.asked
    assert (method, path) == ("POST", f"/api/v1/rooms/{ROOM}/tickets")
    assert json.loads(body) == {"password": "비밀 &"}


async def test_refusals_have_the_code_of_the_contract() -> None:
    server = Server(problem(errors.WRONG_PASSWORD), problem(errors.TOO_MANY_ATTEMPTS, **{"retry-after": "42"}))
    client = server.client()
    with pytest.raises(RoomsApiError) as wrong:
        await client.admit(CALLER, ROOM, "x")
    assert (wrong.value.code, wrong.value.retry_after) == (errors.WRONG_PASSWORD, None)
    with pytest.raises(RoomsApiError) as too_many:
        await client.admit(CALLER, ROOM, "x")
    assert (too_many.value.code, too_many.value.retry_after) == (errors.TOO_MANY_ATTEMPTS, "42")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (PlainTextResponse("bad gateway", 502), errors.UNAVAILABLE),
        (PlainTextResponse("<html>", 200), errors.UNAVAILABLE),
        (JSONResponse({"code": "from_the_future"}, 404), errors.NOT_FOUND),
        (JSONResponse(["not", "a", "problem"], 422), errors.VALIDATION_FAILED),
    ],
)
async def test_strange_answers_are_refusals_too(answer: Response, code: errors.ErrorCode) -> None:
    with pytest.raises(RoomsApiError) as refused:
        await Server(answer).client().get_room(CALLER, ROOM)
    assert refused.value.code == code


async def test_nobody_there_is_unavailable() -> None:
    with pytest.raises(RoomsApiError) as refused:
        await RoomsApiClient("http://127.0.0.1:1").get_room(CALLER, ROOM)
    assert refused.value.code == errors.UNAVAILABLE


async def test_a_message_of_unknown_outcome_is_repeated_with_its_key() -> None:
    server = Server(problem(errors.OUTCOME_UNKNOWN), JSONResponse({}, 201), JSONResponse({}, 201))
    client = server.client()
    await client.post_text(CALLER, ROOM, "한 번만")
    await client.post_text(CALLER, ROOM, "다른 것")
    keys = [json.loads(body)["client_message_id"] for _method, _path, _headers, body in server.asked]
    assert keys[0] == keys[1] != keys[2]


async def test_a_refused_message_is_not_repeated() -> None:
    server = Server(problem(errors.MUTED))
    with pytest.raises(RoomsApiError):
        await server.client().post_text(CALLER, ROOM, "x")
    assert len(server.asked) == 1


async def test_a_gif_is_passed_on_as_it_comes() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"--x\r\n"
        yield b"--x--"

    server = Server(JSONResponse({"id": "0" * 64}, 201), Response(status_code=204))
    client = server.client()
    assert await client.upload_gif(CALLER, ROOM, "multipart/form-data; boundary=x", "10", body()) == "0" * 64
    [(_method, path, headers, received)] = server.asked
    assert path == f"/api/v1/rooms/{ROOM}/gifs"
    assert (headers["content-type"], headers["content-length"]) == ("multipart/form-data; boundary=x", "10")
    assert "transfer-encoding" not in headers
    assert received == b"--x\r\n--x--"
    await client.remove_room(CALLER, ROOM)
