"""Moderation over HTTP: actions are stored, published to gateways, and enforced by every route."""

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from gifchat_contracts import keys
from gifchat_contracts.codec import Kind
from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.domain.moderation import SANCTION_MAX_S

from .conftest import PASSWORD, Api, Listener, StartApi, User

pytestmark = pytest.mark.servers


@pytest.fixture
async def anne(api: Api) -> User:
    return await api.user("anne")


@pytest.fixture
async def bob(api: Api) -> User:
    return await api.user("bob")


class Room:
    """Anne's room, with Bob as a member."""

    def __init__(self, api: Api, anne: User, bob: User, room: dict[str, Any], channel: Listener) -> None:
        self.anne, self.bob, self.channel = anne, bob, channel
        self.url = f"/rooms/{room['_id']}"
        self.room_id = room["_id"]
        self.user_id = bob.who.user_id
        self.key = 0
        self.headers = bob.membership(room)

    async def post(self, user: User | None = None, key: str | None = None) -> httpx.Response:
        self.key += 1
        body = {"client_message_id": key or f"k{self.key}", "text": f"text {self.key}"}
        headers = {} if user else self.headers
        return await (user or self.bob).http.post(f"{self.url}/messages", json=body, headers=headers)

    async def post_code(self, user: User | None = None, key: str | None = None) -> str | None:
        answer = await self.post(user, key)
        return answer.json()["code"] if answer.is_error else None

    async def read_code(self) -> str | None:
        answer = await self.bob.http.get(f"{self.url}/messages", headers=self.headers)
        return answer.json()["code"] if answer.is_error else None

    async def next_event(self) -> tuple[str | None, dict[str, Any]]:
        frame = await self.channel.next()
        assert frame.kind == Kind.SANCTION
        name, payload = json.loads(frame.body)
        assert name == "sanction"
        return frame.subject, payload


@pytest.fixture
async def room(api: Api, anne: User, bob: User) -> Room:
    made = await anne.room()
    await api.settle(made)
    await api.take_seats(made, bob.who.user_id)
    return Room(api, anne, bob, made, await api.listen(keys.room_channel(RoomId(made["_id"]))))


async def test_a_ban_keeps_a_user_out_and_is_published(api: Api, room: Room, anne: User) -> None:
    answer = await anne.http.put(f"{room.url}/bans/{room.user_id}", json={"seconds": 600})
    assert answer.status_code == 200
    sanction = answer.json()
    until = datetime.fromisoformat(sanction["until"])
    assert abs(until - api.clock() - timedelta(seconds=600)) < timedelta(seconds=5)
    assert sanction == {
        "room": room.room_id,
        "user_id": room.user_id,
        "code": "banned",
        "until": sanction["until"],
    }
    assert await room.next_event() == (
        room.user_id,
        {"room": room.room_id, "code": "banned", "until": sanction["until"]},
    )
    assert (await room.post_code(), await room.read_code()) == ("banned", "banned")


async def test_a_ban_expires_or_is_lifted_by_the_owner(api: Api, room: Room, anne: User) -> None:
    await anne.http.put(f"{room.url}/bans/{room.user_id}", json={"seconds": 600})
    api.clock.forward(seconds=601)
    assert (await room.post_code(), await room.read_code()) == (None, None)
    for_ever = (await anne.http.put(f"{room.url}/bans/{room.user_id}")).json()
    assert for_ever["until"] is None
    api.clock.forward(days=20 * 365)
    assert await room.read_code() == "banned"
    for _ in range(2):
        assert (await anne.http.delete(f"{room.url}/bans/{room.user_id}")).status_code == 204
    assert await room.read_code() is None


async def test_a_muted_user_can_read_but_not_post(api: Api, room: Room, anne: User) -> None:
    assert await room.post_code(key="before") is None
    assert (await anne.http.put(f"{room.url}/mutes/{room.user_id}", json={"seconds": 60})).json()["code"] == "muted"
    assert (await room.post_code(), await room.read_code()) == ("muted", None)
    assert await room.post_code(key="before") is None, "a retry of a stored message succeeds"
    assert await room.post_code(anne) is None, "other users are not affected"
    assert (await anne.http.delete(f"{room.url}/mutes/{room.user_id}")).status_code == 204
    assert await room.post_code() is None


async def test_a_kicked_user_can_come_back_after_a_minute(api: Api, room: Room, anne: User) -> None:
    answer = await anne.http.post(f"{room.url}/kicks", json={"user_id": room.user_id})
    assert (answer.status_code, answer.content) == (204, b"")
    subject, payload = await room.next_event()
    assert (subject, payload["code"]) == (room.user_id, "kicked")
    until = datetime.fromisoformat(payload["until"])
    assert abs(until - api.clock() - timedelta(seconds=60)) < timedelta(seconds=5)
    assert (await room.post_code(), await room.read_code()) == ("kicked", "kicked")
    record = (await (await api.gateway()).get(f"/rooms/{room.room_id}")).json()
    assert record["sanctions"][room.user_id]["kicked_until"] == payload["until"]

    refusal = await room.bob.http.post(f"{room.url}/tickets")
    assert (refusal.status_code, refusal.json()["code"]) == (403, "kicked")
    assert payload["until"] in refusal.json()["detail"]
    api.clock.forward(seconds=60)
    assert (await room.bob.http.post(f"{room.url}/tickets")).status_code == 201
    await api.take_seats({"_id": room.room_id}, room.bob.who.user_id)
    assert await room.post_code() is None


async def test_a_kick_in_a_private_room_ends_the_grant(api: Api, anne: User, bob: User) -> None:
    made = await anne.room(password=PASSWORD)
    tickets = f"/rooms/{made['_id']}/tickets"
    assert (await bob.http.post(tickets, json={"password": PASSWORD})).status_code == 201
    assert (await bob.http.post(tickets)).status_code == 201
    await anne.http.post(f"/rooms/{made['_id']}/kicks", json={"user_id": bob.who.user_id})
    api.clock.forward(seconds=60)
    assert (await bob.http.post(tickets)).json()["code"] == "password_required"
    assert (await bob.http.post(tickets, json={"password": PASSWORD})).status_code == 201
    assert (await bob.http.post(tickets)).status_code == 201


async def test_the_owner_sees_all_members_and_who_never_posted(api: Api, room: Room, anne: User, bob: User) -> None:
    silent = UserId("c" * 24)
    await api.take_seats({"_id": room.room_id}, bob.who.user_id, silent)
    await api.redis.hset(keys.members(RoomId(room.room_id)), silent, "0|#123456")
    posted = (await room.post()).json()
    answer = await anne.http.get(f"{room.url}/members")
    assert answer.status_code == 200
    assert answer.json()["next_cursor"] is None
    assert {item["user_id"]: item for item in answer.json()["items"]} == {
        bob.who.user_id: {
            "user_id": bob.who.user_id,
            "color": "#86362d",
            "connected": True,
            "last_posted_at": posted["createdAt"],
        },
        silent: {"user_id": silent, "color": "#123456", "connected": False, "last_posted_at": None},
    }
    assert (await anne.http.post(f"{room.url}/kicks", json={"user_id": silent})).status_code == 204
    assert (await room.channel.next()).kind == Kind.CHAT
    assert (await room.next_event())[0] == silent


async def test_the_pages_of_a_big_room_have_every_member(api: Api, room: Room, anne: User) -> None:
    users = {f"{number:024x}" for number in range(1_500)}
    await api.take_seats({"_id": room.room_id}, *map(UserId, users))
    found: list[str] = []
    cursor, pages = "0", 0
    while cursor is not None:
        page = (await anne.http.get(f"{room.url}/members", params={"cursor": cursor, "limit": 200})).json()
        found += [item["user_id"] for item in page["items"]]
        cursor, pages = page["next_cursor"], pages + 1
    assert set(found) == users | {room.user_id}
    assert pages > 1


async def test_only_the_owner_sees_the_members(room: Room, bob: User, anne: User) -> None:
    assert (await bob.http.get(f"{room.url}/members")).json()["code"] == "not_owner"
    for query in ({"cursor": "x"}, {"cursor": "9" * 20}, {"limit": 0}):
        assert (await anne.http.get(f"{room.url}/members", params=query)).json()["code"] == "validation_failed"


async def test_concurrent_actions_all_apply(room: Room, anne: User) -> None:
    users = [f"{number:024x}" for number in range(1, 6)]
    answers = await asyncio.gather(*(anne.http.put(f"{room.url}/mutes/{user_id}") for user_id in users))
    assert [answer.status_code for answer in answers] == [200] * 5
    told = {(await room.next_event())[0] for _ in users}
    assert told == set(users)


async def test_only_the_owner_moderates_and_not_themselves(room: Room, anne: User, bob: User) -> None:
    for user, target, code in ((bob, anne.who.user_id, "not_owner"), (anne, anne.who.user_id, "validation_failed")):
        for answer in (
            await user.http.post(f"{room.url}/kicks", json={"user_id": target}),
            await user.http.put(f"{room.url}/bans/{target}"),
            await user.http.put(f"{room.url}/mutes/{target}"),
            await user.http.delete(f"{room.url}/bans/{target}"),
            await user.http.delete(f"{room.url}/mutes/{target}"),
        ):
            assert answer.json()["code"] == code


@pytest.mark.parametrize("seconds", [0, -1, 1.5, "60", SANCTION_MAX_S + 1, True])
async def test_an_invalid_duration_is_422(room: Room, anne: User, seconds: object) -> None:
    answer = await anne.http.put(f"{room.url}/bans/{room.user_id}", json={"seconds": seconds})
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert await room.read_code() is None


async def test_the_longest_duration_is_accepted(room: Room, anne: User) -> None:
    answer = await anne.http.put(f"{room.url}/bans/{room.user_id}", json={"seconds": SANCTION_MAX_S})
    assert answer.status_code == 200


async def test_a_kick_works_although_the_list_of_sanctions_is_full(start_api: StartApi) -> None:
    api = await start_api(sanctions_per_room=2)
    anne, gateway = await api.user("anne"), await api.gateway()
    room_id = (await anne.room())["_id"]
    for letter in "abc":
        assert (await anne.http.put(f"/rooms/{room_id}/bans/{letter * 24}")).status_code == 200
    assert (await anne.http.post(f"/rooms/{room_id}/kicks", json={"user_id": "d" * 24})).status_code == 204
    sanctions = (await gateway.get(f"/rooms/{room_id}")).json()["sanctions"]
    assert list(sanctions) == ["c" * 24, "d" * 24]


async def test_slow_mode_limits_every_user_except_the_owner(api: Api, room: Room, anne: User) -> None:
    await anne.http.patch(room.url, json={"slow_mode_s": 30})
    assert await room.post_code(key="first") is None
    early = await room.post()
    assert (early.status_code, early.json()["code"]) == (429, "slow_mode")
    assert 25 <= int(early.headers["retry-after"]) <= 30
    assert await room.post_code(key="first") is None, "a retry is not a second message"
    assert [await room.post_code(anne), await room.post_code(anne)] == [None, None]
    api.clock.forward(seconds=30)
    assert await room.post_code() is None
    await anne.http.patch(room.url, json={"slow_mode_s": 0})
    assert await room.post_code() is None


async def test_a_deleted_message_is_redacted_and_the_log_records_it(api: Api, room: Room, anne: User) -> None:
    secret = (await room.post()).json()
    deletion_url = f"{room.url}/messages/{secret['seq']}"
    assert (await room.bob.http.delete(deletion_url, headers=room.headers)).json()["code"] == "not_owner"
    for _ in range(2):
        assert (await anne.http.delete(deletion_url)).status_code == 204
    frames = [await room.channel.next() for _ in range(2)]
    assert [(frame.kind, frame.seq) for frame in frames] == [(Kind.CHAT, 1), (Kind.CHAT_DELETED, 2)]
    assert json.loads(frames[1].body)[1]["target_id"] == secret["_id"]
    page = (await anne.http.get(f"{room.url}/messages")).json()
    assert [item["event"] for item in page["items"]] == ["chat", "chatDeleted"]
    assert page["items"][0]["data"]["deleted"] is True
    assert secret["chat"] not in str(page)
    stored = await api.database["messages"].find_one({"seq": 1})
    assert stored is not None
    assert secret["chat"] not in str(stored)
    missing = await anne.http.delete(f"{room.url}/messages/99")
    assert (missing.status_code, missing.json()["code"]) == (404, "message_not_found")


async def test_an_acknowledged_sanction_holds_for_the_very_next_message_on_every_replica(start_api: StartApi) -> None:
    replicas: list[Api] = [await start_api(), await start_api()]
    anne, *bobs = [await replicas[0].user("anne"), *[await replica.user("bob") for replica in replicas]]
    user_id = bobs[0].who.user_id
    created = await anne.room()
    await replicas[0].settle(created)
    await replicas[0].take_seats(created, UserId(user_id))
    url, headers = f"/rooms/{created['_id']}", bobs[0].membership(created)
    number = 0

    async def post_codes() -> list[str | None]:
        """Post to each replica, which reads the room unless it has a copy; return the codes of the refusals."""
        nonlocal number
        number += 1
        posts = [
            bob.http.post(
                f"{url}/messages", json={"client_message_id": f"k{number}-{at}", "text": "x"}, headers=headers
            )
            for at, bob in enumerate(bobs)
        ]
        return [answer.json().get("code") for answer in await asyncio.gather(*posts)]

    for method, path, code in (
        ("PUT", f"mutes/{user_id}", "muted"),
        ("PUT", f"bans/{user_id}", "banned"),
        ("DELETE", f"bans/{user_id}", "muted"),
        ("DELETE", f"mutes/{user_id}", None),
    ):
        await post_codes()
        changed = await anne.http.request(method, f"{url}/{path}")
        assert not changed.is_error
        assert await post_codes() == [code, code], path

    assert (await anne.http.patch(url, json={"slow_mode_s": 60})).status_code == 200
    assert await post_codes() == ["slow_mode", "slow_mode"]
    await anne.http.delete(url)
    assert await post_codes() == ["room_not_found", "room_not_found"]


async def test_a_ban_with_purge_deletes_the_messages_of_the_user_only(room: Room, anne: User) -> None:
    for _ in range(3):
        await room.post()
        await room.post(anne)
    banned = await anne.http.put(f"{room.url}/bans/{room.user_id}", json={"purge": True})
    assert (banned.status_code, banned.json()["code"]) == (200, "banned")
    items = (await anne.http.get(f"{room.url}/messages")).json()["items"]
    chats = [item["data"] for item in items if item["event"] == "chat"]
    assert [(chat["seq"], chat.get("deleted", False)) for chat in chats] == [
        (seq, chat["user_id"] == room.user_id) for seq, chat in enumerate(chats, 1)
    ]
    assert sorted(item["data"]["target_seq"] for item in items if item["event"] == "chatDeleted") == [1, 3, 5]
    again = await anne.http.put(f"{room.url}/bans/{room.user_id}", json={"purge": True})
    assert again.status_code == 200
    assert (await anne.http.get(f"{room.url}/messages")).json()["head"] == 9
    assert (await anne.http.put(f"{room.url}/mutes/{room.user_id}", json={"purge": True})).status_code == 422
