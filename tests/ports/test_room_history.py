"""`RoomHistory` and `MessageRelay` of the gateway's ports: one suite for the fake and for the client of rooms-api."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from bson import ObjectId

from gifchat_chassis.secret_rules import DEVELOPMENT_TOKEN
from gifchat_contracts import errors, identity, limits
from gifchat_contracts.codec import Kind
from gifchat_contracts.errors import Refused
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, is_epoch
from gifchat_contracts.position import Position
from gifchat_contracts.socket_events import SendGif, SendText
from gifchat_realtime_gateway.adapters.rooms_api_client import RoomsApiClient
from gifchat_realtime_gateway.domain.room_record import FOREVER, Forever
from gifchat_realtime_gateway.ports import HistoryUnavailableError, MessageRelay, RoomHistory
from gifchat_testkit import tokens
from gifchat_testkit.fakes.rooms_api import FakeRoomsApi
from gifchat_testkit.services import Service, running_service

NO_ROOM = RoomId(str(ObjectId()))
NOW = datetime.now(UTC)


ADDRESS = "203.0.113.7"


class History(RoomHistory, MessageRelay, Protocol):
    """An object that implements both ports."""


class World(Protocol):
    """A rooms-api, real or fake, in which tests create rooms."""

    @property
    def history(self) -> History: ...

    @property
    def owner(self) -> Identity: ...

    async def create(self, **wanted: Any) -> RoomId: ...

    async def delete_message(self, room_id: RoomId, seq: int) -> None: ...

    async def ban(self, room_id: RoomId, who: Identity, until: datetime | Forever) -> None: ...

    async def mute(self, room_id: RoomId, who: Identity, until: datetime | Forever) -> None: ...

    async def remove(self, room_id: RoomId) -> None: ...

    def bound_posts(self, room_id: RoomId, address: str) -> None: ...

    async def unreachable(self) -> History: ...


class FakeWorld:
    def __init__(self) -> None:
        self.history: FakeRoomsApi = FakeRoomsApi()
        self.owner = Identity.of_session("owner")

    async def create(self, **wanted: Any) -> RoomId:
        room_id = RoomId(str(ObjectId()))
        private = bool(wanted.get("password"))
        room = self.history.create(
            room_id, max_members=wanted.get("max", limits.ROOM_MAX_DEFAULT), private=private, owner=self.owner
        )
        room.payload["title"] = wanted.get("title", "a room")
        return room_id

    async def delete_message(self, room_id: RoomId, seq: int) -> None:
        self.history.rooms[room_id].delete(seq)

    async def ban(self, room_id: RoomId, who: Identity, until: datetime | Forever) -> None:
        self.history.rooms[room_id].banned_until[who.user_id] = until

    async def mute(self, room_id: RoomId, who: Identity, until: datetime | Forever) -> None:
        self.history.rooms[room_id].muted_until[who.user_id] = until

    async def remove(self, room_id: RoomId) -> None:
        del self.history.rooms[room_id]

    def bound_posts(self, room_id: RoomId, address: str) -> None:
        self.history.messages_left[room_id, address] = 2

    async def unreachable(self) -> History:
        nowhere = FakeRoomsApi()
        nowhere.down = True
        return nowhere


class RealWorld:
    def __init__(self, service: Service, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.history: RoomsApiClient = RoomsApiClient(service.url, DEVELOPMENT_TOKEN)
        stack.push_async_callback(self.history.aclose)
        session_id = secrets.token_hex(16)
        self.owner = Identity.of_session(session_id)
        cookie = f"{identity.SESSION_COOKIE}={tokens.session_cookie(session_id)}"
        self._http = httpx.AsyncClient(base_url=f"{service.url}/api/v1", headers={"Cookie": cookie})
        stack.push_async_callback(self._http.aclose)

    async def create(self, **wanted: Any) -> RoomId:
        answer = await self._http.post("/rooms", json={"title": "a room"} | wanted)
        answer.raise_for_status()
        return RoomId(answer.json()["_id"])

    async def delete_message(self, room_id: RoomId, seq: int) -> None:
        (await self._http.delete(f"/rooms/{room_id}/messages/{seq}")).raise_for_status()

    async def ban(self, room_id: RoomId, who: Identity, until: datetime | Forever) -> None:
        await self._sanction("bans", room_id, who, until)

    async def mute(self, room_id: RoomId, who: Identity, until: datetime | Forever) -> None:
        await self._sanction("mutes", room_id, who, until)

    async def _sanction(self, kind: str, room_id: RoomId, who: Identity, until: datetime | Forever) -> None:
        seconds = None if isinstance(until, Forever) else round((until - datetime.now(UTC)).total_seconds())
        body = {} if seconds is None else {"seconds": seconds}
        (await self._http.put(f"/rooms/{room_id}/{kind}/{who.user_id}", json=body)).raise_for_status()

    async def remove(self, room_id: RoomId) -> None:
        (await self._http.delete(f"/rooms/{room_id}")).raise_for_status()

    def bound_posts(self, room_id: RoomId, address: str) -> None:
        """Do nothing: rooms-api's own bound applies."""

    async def unreachable(self) -> History:
        nowhere = RoomsApiClient("http://127.0.0.1:1", DEVELOPMENT_TOKEN)
        self._stack.push_async_callback(nowhere.aclose)
        return nowhere


@pytest.fixture(scope="module")
def rooms_api(mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder: Path = tmp_path_factory.mktemp("rooms-api")
    database = f"test_{secrets.token_hex(6)}"
    with running_service(
        "gifchat_rooms_api", folder, MONGO_URL=mongo_url, MONGO_DATABASE=database, REDIS_URL=valkey_url
    ) as service:
        yield service


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.servers)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "fake":
        yield FakeWorld()
        return
    async with AsyncExitStack() as stack:
        request.getfixturevalue("valkey")
        yield RealWorld(request.getfixturevalue("rooms_api"), stack)


def user() -> Identity:
    return Identity.of_session(secrets.token_hex(16))


async def say(world: World, room_id: RoomId, count: int) -> None:
    sender = user()
    for number in range(count):
        await world.history.relay(SendText(room_id, f"m{number}", f"message {number + 1}"), sender, ADDRESS)


async def test_a_new_room_has_an_empty_log(world: World) -> None:
    room_id = await world.create(title="고양이 GIF", max=7)
    record = await world.history.record(room_id)
    assert record.room["_id"] == room_id
    assert (record.room["title"], record.room["max"], record.room["private"]) == ("고양이 GIF", 7, False)
    assert (record.room["owner_id"], record.room["owner"]) == (world.owner.user_id, world.owner.color)
    assert (record.access_version, record.banned_until, record.max_members) == (1, {}, 7)
    assert is_epoch(record.epoch)

    page = await world.history.newest(room_id, 50)
    assert (page.epoch, page.head, page.frames) == (record.epoch, 0, ())
    assert await world.history.heads([room_id]) == {room_id: Position(record.epoch, 0)}


async def test_a_room_with_a_password_is_private(world: World) -> None:
    record = await world.history.record(await world.create(password="meow"))
    assert record.room["private"]
    assert "meow" not in str(record)


async def test_bans_are_listed_with_their_ends(world: World) -> None:
    room_id = await world.create()
    for_ever, for_a_while = user(), user()
    ends = NOW + timedelta(hours=1)
    await world.ban(room_id, for_ever, FOREVER)
    await world.ban(room_id, for_a_while, ends)
    record = await world.history.record(room_id)
    assert record.banned_until.keys() == {for_ever.user_id, for_a_while.user_id}
    assert record.banned_until[for_ever.user_id] is FOREVER
    until = record.banned_until[for_a_while.user_id]
    assert isinstance(until, datetime)
    assert abs(until - ends) < timedelta(minutes=1)
    assert record.banned(for_a_while.user_id, NOW)
    assert not record.banned(for_a_while.user_id, ends + timedelta(minutes=1))


async def test_mutes_are_listed_with_their_ends(world: World) -> None:
    room_id = await world.create()
    for_ever, for_a_while = user(), user()
    ends = NOW + timedelta(hours=1)
    await world.mute(room_id, for_ever, FOREVER)
    await world.mute(room_id, for_a_while, ends)
    record = await world.history.record(room_id)
    assert record.muted(for_ever.user_id, ends + timedelta(days=365))
    assert record.muted(for_a_while.user_id, NOW)
    assert not record.muted(for_a_while.user_id, ends + timedelta(minutes=1))
    assert not record.muted(user().user_id, NOW)
    assert not record.banned(for_ever.user_id, NOW)


async def test_a_relayed_message_gets_the_next_seq(world: World) -> None:
    room_id, sender = await world.create(), user()
    message = json.loads(await world.history.relay(SendText(room_id, "m1", "안녕 <b>\n🙂"), sender, ADDRESS))
    assert (message["room"], message["seq"], message["chat"]) == (room_id, 1, "안녕 <b>\n🙂")
    assert (message["user_id"], message["user"]) == (sender.user_id, sender.color)
    assert message["client_message_id"] == "m1"
    page = await world.history.newest(room_id, 50)
    [frame] = page.frames
    assert (frame.kind, frame.epoch, frame.seq) == (Kind.CHAT, page.epoch, 1)
    assert b"\\u" not in frame.body
    assert frame.body.startswith(b'["chat",{')
    assert "안녕".encode() in frame.body


async def test_a_message_that_is_relayed_twice_is_stored_once(world: World) -> None:
    room_id, sender = await world.create(), user()
    message = SendText(room_id, "m1", "hello")
    stored = await asyncio.gather(*(world.history.relay(message, sender, ADDRESS) for _ in range(5)))
    assert all(each == stored[0] for each in stored)
    assert (await world.history.newest(room_id, 50)).head == 1


@pytest.mark.parametrize("limit", [1, 3, 500])
async def test_the_latest_messages_are_returned(world: World, limit: int) -> None:
    room_id = await world.create()
    await say(world, room_id, 5)
    page = await world.history.newest(room_id, limit)
    assert page.head == 5
    assert [frame.seq for frame in page.frames] == [1, 2, 3, 4, 5][-limit:]


@pytest.mark.parametrize(
    ("after", "limit", "seqs"),
    [(0, 500, [1, 2, 3, 4, 5]), (2, 2, [3, 4]), (4, 500, [5]), (5, 500, []), (99, 500, [])],
)
async def test_a_range_of_the_log_is_returned(world: World, after: int, limit: int, seqs: list[int]) -> None:
    room_id = await world.create()
    await say(world, room_id, 5)
    page = await world.history.after(room_id, after, limit)
    assert [frame.seq for frame in page.frames] == seqs
    assert page.head == 5
    assert {frame.epoch for frame in page.frames} <= {page.epoch}


@pytest.mark.parametrize(
    ("before", "limit", "seqs"),
    [(6, 500, [1, 2, 3, 4, 5]), (4, 2, [2, 3]), (2, 500, [1]), (1, 500, []), (99, 2, [4, 5])],
)
async def test_the_range_before_a_seq_is_returned(world: World, before: int, limit: int, seqs: list[int]) -> None:
    room_id = await world.create()
    await say(world, room_id, 5)
    page = await world.history.before(room_id, before, limit)
    assert [frame.seq for frame in page.frames] == seqs
    assert page.head == 5


async def test_a_deleted_message_keeps_its_seq_without_its_content(world: World) -> None:
    room_id = await world.create()
    await say(world, room_id, 2)
    await world.delete_message(room_id, 1)
    page = await world.history.newest(room_id, 50)
    assert [(frame.seq, frame.kind) for frame in page.frames] == [
        (1, Kind.CHAT),
        (2, Kind.CHAT),
        (3, Kind.CHAT_DELETED),
    ]
    assert b"message 1" not in page.frames[0].body
    assert b'"deleted":true' in page.frames[0].body
    assert b'"target_seq":1' in page.frames[2].body


async def test_heads_are_returned_for_existing_rooms_only(world: World) -> None:
    rooms = [await world.create() for _ in range(3)]
    for count, room_id in enumerate(rooms):
        await say(world, room_id, count)
    heads = await world.history.heads([*rooms, NO_ROOM])
    assert {room_id: head.seq for room_id, head in heads.items()} == {rooms[0]: 0, rooms[1]: 1, rooms[2]: 2}
    assert await world.history.heads([]) == {}
    assert len(await world.history.heads([RoomId(f"{number:024x}") for number in range(999)] + rooms[:1])) == 1


async def test_rooms_are_returned_for_existing_ids_only(world: World) -> None:
    plain, private, removed = [await world.create(), await world.create(password="meow"), await world.create()]
    banned = user()
    await world.ban(private, banned, FOREVER)
    await world.remove(removed)
    records = await world.history.records([plain, private, removed, NO_ROOM])
    assert records == {room_id: await world.history.record(room_id) for room_id in (plain, private)}
    assert records[private].room["private"]
    assert records[private].banned_until == {banned.user_id: FOREVER}
    assert await world.history.records([]) == {}


async def test_an_unknown_room_is_refused(world: World) -> None:
    removed = await world.create()
    await world.remove(removed)
    for room_id in (NO_ROOM, removed):
        for call in (
            world.history.record(room_id),
            world.history.newest(room_id, 50),
            world.history.after(room_id, 0, 50),
            world.history.before(room_id, 5, 50),
            world.history.relay(SendText(room_id, "m1", "hello"), user(), ADDRESS),
        ):
            with pytest.raises(Refused) as refusal:
                await call
            assert refusal.value.code is errors.ROOM_NOT_FOUND


async def test_a_banned_user_cannot_post(world: World) -> None:
    room_id, sender = await world.create(), user()
    await world.ban(room_id, sender, FOREVER)
    with pytest.raises(Refused) as refusal:
        await world.history.relay(SendText(room_id, "m1", "hello"), sender, ADDRESS)
    assert refusal.value.code is errors.BANNED


async def test_an_address_that_posts_too_much_is_refused_as_a_whole(world: World) -> None:
    room_id = await world.create()
    world.bound_posts(room_id, ADDRESS)

    async def flood() -> None:
        for _ in range(1_000):
            await world.history.relay(SendText(room_id, "m1", "hello"), user(), ADDRESS)

    with pytest.raises(Refused) as refusal:
        await flood()
    assert (refusal.value.code, refusal.value.whole_address) == (errors.RATE_LIMITED, True)
    assert refusal.value.retry_after_s == 1
    await world.history.relay(SendText(room_id, "m1", "hello"), user(), "203.0.113.8")


async def test_an_unknown_gif_is_refused(world: World) -> None:
    gif = SendGif(await world.create(), "m1", "0" * 64)  # type: ignore[arg-type]
    with pytest.raises(Refused) as refusal:
        await world.history.relay(gif, user(), ADDRESS)
    assert refusal.value.code is errors.GIF_NOT_FOUND


async def test_a_service_that_is_down_raises_unavailable(world: World) -> None:
    nowhere = await world.unreachable()
    for call in (
        nowhere.record(NO_ROOM),
        nowhere.records([NO_ROOM]),
        nowhere.newest(NO_ROOM, 50),
        nowhere.after(NO_ROOM, 0, 50),
        nowhere.before(NO_ROOM, 5, 50),
        nowhere.heads([NO_ROOM]),
    ):
        with pytest.raises(HistoryUnavailableError):
            await call
    with pytest.raises(Refused) as refusal:
        await nowhere.relay(SendText(NO_ROOM, "m1", "hello"), user(), ADDRESS)
    assert refusal.value.code is errors.UNAVAILABLE


@pytest.mark.servers
async def test_a_wrong_token_raises_unavailable(rooms_api: Service) -> None:
    client = RoomsApiClient(rooms_api.url, "another")
    try:
        with pytest.raises(HistoryUnavailableError):
            await client.record(NO_ROOM)
    finally:
        await client.aclose()


@pytest.mark.parametrize(
    "content",
    [b"hello", b"[]", b"{}", b'{"heads":{"x":{}},"records":{"x":{}},"room":1,"epoch":"","items":[1],"head":1}'],
)
async def test_an_unreadable_response_raises_unavailable(content: bytes) -> None:
    """This happens if the address is wrong and another service answers."""

    async def something_else(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        status = b"201 Created" if b"/messages" in request else b"200 OK"
        writer.write(
            b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (status, len(content), content)
        )
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(something_else, "127.0.0.1", 0) as server:
        client = RoomsApiClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", DEVELOPMENT_TOKEN)
        try:
            for call in (
                client.record(NO_ROOM),
                client.records([NO_ROOM]),
                client.newest(NO_ROOM, 1),
                client.heads([NO_ROOM]),
            ):
                with pytest.raises(HistoryUnavailableError):
                    await call
            if content == b"hello":
                with pytest.raises(Refused) as refusal:
                    await client.relay(SendText(NO_ROOM, "m1", "hello"), user(), ADDRESS)
                assert refusal.value.code is errors.OUTCOME_UNKNOWN
        finally:
            await client.aclose()


@pytest.mark.parametrize(
    ("content_type", "content"), [(b"text/html", b"<p>hello"), (b"application/json", b'{"chat":"\xff"}')]
)
async def test_an_unreadable_answer_to_a_message_never_reaches_the_ack(content_type: bytes, content: bytes) -> None:
    async def something_else(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 201 Created\r\nContent-Type: %b\r\nContent-Length: %d\r\n" % (content_type, len(content))
        writer.write(head + b"Connection: close\r\n\r\n" + content)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(something_else, "127.0.0.1", 0) as server:
        client = RoomsApiClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", DEVELOPMENT_TOKEN)
        try:
            with pytest.raises(Refused) as refusal:
                await client.relay(SendText(NO_ROOM, "m1", "hello"), user(), ADDRESS)
            assert refusal.value.code is errors.OUTCOME_UNKNOWN
        finally:
            await client.aclose()


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", b"no HTTP\r\n\r\n"])
async def test_after_a_truncated_response_the_outcome_of_a_post_is_unknown(sent: bytes) -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        writer.close()

    async with await asyncio.start_server(break_off, "127.0.0.1", 0) as server:
        client = RoomsApiClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", DEVELOPMENT_TOKEN)
        try:
            with pytest.raises(HistoryUnavailableError):
                await client.record(NO_ROOM)
            with pytest.raises(Refused) as refusal:
                await client.relay(SendText(NO_ROOM, "m1", "hello"), user(), ADDRESS)
            assert refusal.value.code is errors.OUTCOME_UNKNOWN
        finally:
            await client.aclose()
