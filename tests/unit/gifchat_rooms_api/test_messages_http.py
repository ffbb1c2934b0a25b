"""The message routes in an otherwise empty application, on fakes."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from gifchat_contracts import errors
from gifchat_contracts.errors import ErrorCode
from gifchat_contracts.identity import SESSION_COOKIE, Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.domain.byte_budget import ByteRate
from gifchat_rooms_api.domain.moderation import FOREVER, Sanction
from gifchat_rooms_api.http.deps import Guards
from gifchat_rooms_api.http.internal_messages import internal_messages_router
from gifchat_rooms_api.http.messages import messages_router
from gifchat_rooms_api.http.problems import answer_with_problems
from gifchat_rooms_api.ports import Membership, RoomOccupancy
from gifchat_rooms_api.use_cases.check_access import CheckAccess
from gifchat_rooms_api.use_cases.limit_reads import LimitReads
from gifchat_rooms_api.use_cases.read_history import ReadHistory
from gifchat_testkit.fakes.message_log import Unreachable

from .conftest import ANNE, GIF, NOW, OWNER, ROOM, World

PAGE_MAX_BYTES = 7_000
USER_BURST = 50_000
MISSING = RoomId("65f0c0ffee0123456789abce")
BANNED = Identity.of_session("banned")
URL = f"/api/v1/rooms/{ROOM}/messages"
RELAY_URL = f"/internal/v1/rooms/{ROOM}/messages"
RELAYED = {"user_id": OWNER.user_id, "color": OWNER.color, "client_message_id": "relayed"}
LOG_URL = f"/internal/v1/rooms/{ROOM}/log"


class PlainSignatures:
    """`ports.Signatures` that trusts every cookie."""

    def session_of(self, cookie: str) -> str | None:
        return cookie

    def ticket(self, room_id: RoomId, user_id: UserId, access_version: int) -> str:
        raise NotImplementedError

    def membership_of(self, token: str) -> Membership | None:
        return None


class EverybodySeated:
    """`ports.Occupancy` in which every user has a seat."""

    async def seated(self, room_id: RoomId, user_id: UserId) -> bool:
        return True

    async def for_user(self, room_id: RoomId, user_id: UserId) -> RoomOccupancy:
        return RoomOccupancy(members=1, seated=True, settled=True)


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    assert world.room
    world.room = replace(world.room, sanctions={BANNED.user_id: Sanction(banned_until=FOREVER)})
    occupancy: Any = EverybodySeated()
    access = CheckAccess(world, occupancy, PlainSignatures())
    limit_reads = LimitReads(ByteRate(USER_BURST, 1), ByteRate(10 * USER_BURST, 1), clock=lambda: 0.0)
    guards = Guards(PlainSignatures(), access, limit_reads, (), "token")
    history = ReadHistory(world.log, PAGE_MAX_BYTES)
    app = FastAPI()
    answer_with_problems(app)
    app.include_router(
        messages_router(
            world.post_message,
            world.delete_message,
            history,
            limit_reads,
            world,
            guards=guards,
            checks=(),
            clock=lambda: NOW,
        )
    )
    app.include_router(internal_messages_router(world.post_message, history, world, guards=guards, checks=()))
    headers = as_user("anne") | {"authorization": "Bearer token"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", headers=headers) as client:
        yield client


def as_user(session_id: str) -> dict[str, str]:
    return {"cookie": f"{SESSION_COOKIE}={session_id}"}


async def post(client: httpx.AsyncClient, key: str, **fields: Any) -> dict[str, Any]:
    response = await client.post(URL, json={"client_message_id": key, **fields})
    assert response.status_code == 201, response.text
    payload: dict[str, Any] = response.json()
    return payload


@pytest.mark.parametrize(("method", "path"), [("GET", URL), ("DELETE", f"{URL}/1"), ("GET", LOG_URL)])
async def test_a_read_or_a_deletion_is_unavailable_without_the_store(
    client: httpx.AsyncClient, world: World, method: str, path: str
) -> None:
    world.log.faults.append(Unreachable())
    response = await client.request(method, path, headers=as_user("owner"))
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")


async def test_a_post_and_its_retry_return_the_stored_message(client: httpx.AsyncClient) -> None:
    first = await post(client, "k1", text="안녕")
    assert (first["chat"], first["seq"], first["user"]) == ("안녕", 1, ANNE.color)
    assert await post(client, "k1", text="other") == first
    gif = await post(client, "k2", gif=GIF.gif_id)
    assert (gif["gif"], gif["seq"]) == (f"{ROOM}/{GIF.file}", 2)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": "hi"},
        {"client_message_id": "k"},
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
async def test_a_body_that_does_not_match_the_schema_is_422(client: httpx.AsyncClient, body: object) -> None:
    assert (await client.post(URL, json=body)).status_code == 422


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", errors.TEXT_EMPTY),
        ("\u3164", errors.TEXT_EMPTY),
        ("x" * 2_001, errors.TEXT_TOO_LONG),
        ("x" * 40_000, errors.TEXT_TOO_LONG),
        ("a" + "\n" * 101, errors.TEXT_TOO_MANY_LINES),
    ],
)
async def test_a_text_against_the_policy_is_refused_with_its_code(
    client: httpx.AsyncClient, text: str, code: ErrorCode
) -> None:
    answers = [
        await client.post(URL, json={"client_message_id": "k", "text": text}),
        await client.post(RELAY_URL, json=RELAYED | {"text": text}),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (422, code.code)


async def test_a_text_is_mended_before_it_is_stored(client: httpx.AsyncClient) -> None:
    assert (await post(client, "k1", text="e\u0301\r\nb\x00\u202e"))["chat"] == "é\nb"
    relayed = await client.post(RELAY_URL, json=RELAYED | {"text": "e\u0301\r\nb\x00\u202e"})
    assert relayed.json()["chat"] == "é\nb"


async def test_a_lone_surrogate_is_422(client: httpx.AsyncClient) -> None:
    body = rb'{"client_message_id": "k", "text": "\ud800"}'
    response = await client.post(URL, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 422


async def test_refusals_have_their_codes(client: httpx.AsyncClient) -> None:
    missing_gif = await client.post(URL, json={"client_message_id": "k", "gif": "cd" * 32})
    assert (missing_gif.status_code, missing_gif.json()["code"]) == (404, "gif_not_found")
    missing_room = f"/api/v1/rooms/{MISSING}/messages"
    for response in (
        await client.post(missing_room, json={"client_message_id": "k", "text": "hi"}),
        await client.get(missing_room),
        await client.delete(f"{missing_room}/1"),
        await client.get(f"/internal/v1/rooms/{MISSING}/log"),
    ):
        assert (response.status_code, response.json()["code"]) == (404, "room_not_found")
    banned = as_user("banned")
    for response in (
        await client.post(URL, json={"client_message_id": "k", "text": "hi"}, headers=banned),
        await client.get(URL, headers=banned),
    ):
        assert (response.status_code, response.json()["code"]) == (403, "banned")


async def test_the_history_is_paged_in_both_directions(client: httpx.AsyncClient) -> None:
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


async def test_a_page_of_long_messages_is_shorter_than_its_limit(client: httpx.AsyncClient) -> None:
    for number in range(1, 8):
        await post(client, f"k{number}", text="가" * 1_000)
    page = (await client.get(URL, params={"limit": 7})).json()
    assert [item["data"]["seq"] for item in page["items"]] == [6, 7]
    assert (page["head"], page["has_more"]) == (7, True)
    log = (await client.get(LOG_URL, params={"after": 0})).json()
    assert [item["seq"] for item in log["items"]] == [1, 2]


async def test_the_users_of_an_address_share_a_budget_in_a_room(client: httpx.AsyncClient, world: World) -> None:
    for number in range(world.post_message.per_room_and_address.burst):
        await post(client, f"k{number}", text="hello")
    response = await client.post(URL, json={"client_message_id": "k", "text": "hello"}, headers=as_user("bob"))
    assert (response.status_code, response.json()["code"]) == (429, "rate_limited")


async def test_a_user_who_has_read_too_much_has_to_wait_and_others_do_not(client: httpx.AsyncClient) -> None:
    await post(client, "k1", text="가" * 1_000)
    received = 0
    while (response := await client.get(URL)).status_code == 200:
        received += len(response.content)
    assert USER_BURST <= received <= USER_BURST + PAGE_MAX_BYTES
    assert (response.status_code, response.json()["code"]) == (429, "rate_limited")
    assert int(response.headers["Retry-After"]) >= 1
    assert (await client.get(URL, headers=as_user("bob"))).status_code == 200
    assert (await client.get(LOG_URL)).status_code == 200, "gateways have no such limit"


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 501}, {"before": 0}, {"after": -1}, {"after": 2**53}, {"before": 3, "after": 1}]
)
async def test_a_query_out_of_range_is_422(client: httpx.AsyncClient, query: dict[str, int]) -> None:
    assert (await client.get(URL, params=query)).status_code == 422


async def test_the_owner_can_delete_a_message_twice(client: httpx.AsyncClient) -> None:
    await post(client, "k1", text="secret")
    assert (await client.delete(f"{URL}/1")).json()["code"] == "not_owner"
    for _ in range(2):
        response = await client.delete(f"{URL}/1", headers=as_user("owner"))
        assert (response.status_code, response.content) == (204, b"")
    page = (await client.get(URL)).json()
    assert [item["event"] for item in page["items"]] == ["chat", "chatDeleted"]
    assert page["items"][0]["data"]["deleted"] is True
    assert "secret" not in str(page)
    assert (await client.delete(f"{URL}/9", headers=as_user("owner"))).status_code == 404


async def test_gateways_read_the_log_with_frame_headers(client: httpx.AsyncClient) -> None:
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


async def test_gateways_relay_messages_and_read_heads(client: httpx.AsyncClient) -> None:
    body = {"user_id": OWNER.user_id, "color": OWNER.color, "client_message_id": "k", "text": "over a socket"}
    relayed = await client.post(RELAY_URL, json=body)
    assert (relayed.status_code, relayed.json()["user_id"]) == (201, OWNER.user_id)
    banned = body | {"user_id": BANNED.user_id}
    assert (await client.post(RELAY_URL, json=banned)).status_code == 403
    heads = await client.post("/internal/v1/heads", json={"rooms": [ROOM, MISSING]})
    assert heads.json() == {"heads": {ROOM: {"epoch": relayed.json()["epoch"], "seq": 1}}}
    assert (await client.post("/internal/v1/heads", json={"rooms": [ROOM] * 1_001})).status_code == 422


async def test_internal_routes_require_the_internal_token(client: httpx.AsyncClient) -> None:
    stranger = {"authorization": "Bearer guess"}
    for response in (
        await client.get(LOG_URL, headers=stranger),
        await client.post(RELAY_URL, json={}, headers=stranger),
        await client.post("/internal/v1/heads", json={"rooms": []}, headers=stranger),
    ):
        assert response.status_code == 401
