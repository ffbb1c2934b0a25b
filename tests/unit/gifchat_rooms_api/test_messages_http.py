"""The message routes on an application that has nothing else, with fakes behind them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from gifchat_contracts import errors
from gifchat_contracts.codec import Frame
from gifchat_contracts.errors import Refused
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import GifId, RoomId, UserId
from gifchat_rooms_api.adapters.redis_admission import LocalRateLimits
from gifchat_rooms_api.domain.message import Gif
from gifchat_rooms_api.domain.room import Room
from gifchat_rooms_api.http.internal_messages import internal_messages_router
from gifchat_rooms_api.http.messages import messages_router
from gifchat_rooms_api.use_cases.group_commit import GroupCommit, Rule
from gifchat_rooms_api.use_cases.post_message import Messages
from gifchat_rooms_api.use_cases.read_history import History
from gifchat_testkit.fakes.message_log import FakeMessageLog
from gifchat_testkit.fakes.rooms import room_of

ROOM, MISSING = RoomId("65f0c0ffee0123456789abcd"), RoomId("65f0c0ffee0123456789abce")
OWNER, ANNE = Identity.of_session("owner"), Identity.of_session("anne")
BANNED = Identity.of_session("banned")
GIF = Gif(GifId("ab" * 32), f"{'ab' * 32}.gif", 320, 240)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
URL = f"/rooms/{ROOM}/messages"
LOG_URL = f"/internal/v1/rooms/{ROOM}/log"


class World:
    def __init__(self) -> None:
        self.room = room_of(ROOM, owner_id=OWNER.user_id)

    async def get(self, room_id: RoomId) -> Room | None:
        return self.room if room_id == ROOM else None

    async def find_gif(self, gif_id: GifId) -> Gif | None:
        return GIF if gif_id == GIF.gif_id else None

    def publish(self, channel: str, frame: Frame) -> None:
        """Nobody listens."""


def caller(session: str = Header()) -> Identity:
    return Identity.of_session(session)


def not_banned(user_id: UserId) -> Rule:
    def rule(room: Room, now: datetime) -> None:
        if user_id == BANNED.user_id:
            raise Refused(errors.BANNED)

    return rule


def rule_of_caller(session: str = Header()) -> Rule:
    return not_banned(Identity.of_session(session).user_id)


def from_a_service(authorization: str = Header("")) -> None:
    if authorization != "Bearer token":
        raise Refused(errors.INTERNAL_ONLY)


async def problem(request: Request, refused: Exception) -> JSONResponse:
    assert isinstance(refused, Refused)
    return JSONResponse({"code": refused.code.code}, refused.code.status)


async def invalid(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"code": errors.VALIDATION_FAILED.code}, 422)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    world = World()
    log = FakeMessageLog({ROOM: world.room.epoch})
    ids = count(1)
    commit = GroupCommit(world, log, world, lambda: NOW)
    messages = Messages(
        world,
        commit,
        log,
        find_gif=world.find_gif,
        new_entry_id=lambda: f"{next(ids):024x}",
        rate_limits=LocalRateLimits(),
    )
    history = History(log)
    app = FastAPI()
    app.add_exception_handler(Refused, problem)
    app.add_exception_handler(RequestValidationError, invalid)
    app.include_router(
        messages_router(
            messages,
            history,
            world,
            clock=lambda: NOW,
            caller=caller,
            reader_rule=rule_of_caller,
            writer_rule=rule_of_caller,
            problems=lambda *codes: {},
        )
    )
    app.include_router(
        internal_messages_router(messages, history, world, from_a_service=from_a_service, member_rule=not_banned),
        prefix="/internal/v1",
    )
    headers = {"session": "anne", "authorization": "Bearer token"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", headers=headers) as client:
        yield client


async def post(client: httpx.AsyncClient, key: str, **fields: Any) -> dict[str, Any]:
    response = await client.post(URL, json={"client_message_id": key, **fields})
    assert response.status_code == 201, response.text
    payload: dict[str, Any] = response.json()
    return payload


async def test_post_answers_the_stored_message_and_a_retry_the_same(client: httpx.AsyncClient) -> None:
    first = await post(client, "k1", text="안녕")
    assert (first["chat"], first["seq"], first["user"]) == ("안녕", 1, ANNE.color)
    assert await post(client, "k1", text="other") == first
    gif = await post(client, "k2", gif=GIF.gif_id)
    assert (gif["gif"], gif["seq"]) == (GIF.file, 2)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": "hi"},
        {"client_message_id": "k"},
        {"client_message_id": "k", "text": " "},
        {"client_message_id": "k", "text": "a\x00b"},
        {"client_message_id": "k", "text": "x" * 2_001},
        {"client_message_id": "k", "text": 5},
        {"client_message_id": "k", "text": {"$gt": ""}},
        {"client_message_id": {"$gt": ""}, "text": "hi"},
        {"client_message_id": "deletion:1", "text": "hi"},
        {"client_message_id": "k", "gif": "cat.gif"},
        {"client_message_id": "k", "text": "hi", "gif": GIF.gif_id},
        {"client_message_id": "k", "text": "hi", "user_id": OWNER.user_id},
        [],
        None,
    ],
)
async def test_a_body_of_another_shape_is_422(client: httpx.AsyncClient, body: object) -> None:
    assert (await client.post(URL, json=body)).status_code == 422


async def test_half_a_surrogate_pair_is_no_500(client: httpx.AsyncClient) -> None:
    body = rb'{"client_message_id": "k", "text": "\ud800"}'
    response = await client.post(URL, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 422


async def test_refusals_keep_their_codes(client: httpx.AsyncClient) -> None:
    missing_gif = await client.post(URL, json={"client_message_id": "k", "gif": "cd" * 32})
    assert (missing_gif.status_code, missing_gif.json()["code"]) == (404, "gif_not_found")
    missing_room = f"/rooms/{MISSING}/messages"
    for response in (
        await client.post(missing_room, json={"client_message_id": "k", "text": "hi"}),
        await client.get(missing_room),
        await client.delete(f"{missing_room}/1"),
        await client.get(f"/internal/v1/rooms/{MISSING}/log"),
    ):
        assert (response.status_code, response.json()["code"]) == (404, "room_not_found")
    banned = {"session": "banned"}
    for response in (
        await client.post(URL, json={"client_message_id": "k", "text": "hi"}, headers=banned),
        await client.get(URL, headers=banned),
    ):
        assert (response.status_code, response.json()["code"]) == (403, "banned")


async def test_the_history_pages_both_ways(client: httpx.AsyncClient) -> None:
    posted = [await post(client, f"k{number}", text=str(number)) for number in range(1, 8)]
    newest = (await client.get(URL, params={"limit": 3})).json()
    assert newest["items"] == [{"event": "chat", "data": payload} for payload in posted[4:]]
    assert (newest["head"], newest["has_more"], newest["epoch"]) == (7, True, posted[0]["epoch"])
    older = (await client.get(URL, params={"before": 5, "limit": 100})).json()
    assert [item["data"]["seq"] for item in older["items"]] == [1, 2, 3, 4]
    assert older["has_more"] is False
    newer = (await client.get(URL, params={"after": 5, "limit": 1})).json()
    assert [item["data"]["seq"] for item in newer["items"]] == [6]
    assert newer["has_more"] is True


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 501}, {"before": 0}, {"after": -1}, {"after": 2**53}, {"before": 3, "after": 1}]
)
async def test_a_query_out_of_range_is_422(client: httpx.AsyncClient, query: dict[str, int]) -> None:
    assert (await client.get(URL, params=query)).status_code == 422


async def test_the_owner_deletes_and_again_is_no_error(client: httpx.AsyncClient) -> None:
    await post(client, "k1", text="secret")
    assert (await client.delete(f"{URL}/1")).json()["code"] == "not_owner"
    for _ in range(2):
        response = await client.delete(f"{URL}/1", headers={"session": "owner"})
        assert (response.status_code, response.content) == (204, b"")
    page = (await client.get(URL)).json()
    assert [item["event"] for item in page["items"]] == ["chat", "chatDeleted"]
    assert page["items"][0]["data"]["deleted"] is True
    assert "secret" not in str(page)
    assert (await client.delete(f"{URL}/9", headers={"session": "owner"})).status_code == 404


async def test_gateways_read_the_log_with_what_a_frame_needs(client: httpx.AsyncClient) -> None:
    posted = [await post(client, f"k{number}", text=str(number)) for number in range(1, 5)]
    page = (await client.get(LOG_URL, params={"after": 2})).json()
    assert page == {
        "epoch": posted[0]["epoch"],
        "head": 4,
        "items": [{"event": "chat", "seq": payload["seq"], "kind": 1, "data": payload} for payload in posted[2:]],
    }
    assert [item["seq"] for item in (await client.get(LOG_URL, params={"newest": 2})).json()["items"]] == [3, 4]
    before = (await client.get(LOG_URL, params={"before": 3, "limit": 1})).json()
    assert [item["seq"] for item in before["items"]] == [2]
    assert (await client.get(LOG_URL, params={"newest": 2, "after": 1})).status_code == 422


async def test_gateways_relay_messages_and_ask_for_heads(client: httpx.AsyncClient) -> None:
    body = {"user_id": OWNER.user_id, "color": OWNER.color, "client_message_id": "k", "text": "over a socket"}
    relayed = await client.post(f"/internal/v1{URL}", json=body)
    assert (relayed.status_code, relayed.json()["user_id"]) == (201, OWNER.user_id)
    banned = body | {"user_id": BANNED.user_id}
    assert (await client.post(f"/internal/v1{URL}", json=banned)).status_code == 403
    heads = await client.post("/internal/v1/heads", json={"rooms": [ROOM, MISSING]})
    assert heads.json() == {"heads": {ROOM: {"epoch": relayed.json()["epoch"], "seq": 1}}}
    assert (await client.post("/internal/v1/heads", json={"rooms": [ROOM] * 1_001})).status_code == 422


async def test_internal_routes_are_for_services(client: httpx.AsyncClient) -> None:
    stranger = {"authorization": "Bearer guess"}
    for response in (
        await client.get(LOG_URL, headers=stranger),
        await client.post(f"/internal/v1{URL}", json={}, headers=stranger),
        await client.post("/internal/v1/heads", json={"rooms": []}, headers=stranger),
    ):
        assert response.status_code == 401
