from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

import httpx
import pytest

from gifchat_contracts import errors
from gifchat_contracts.errors import ErrorCode, Refused
from gifchat_contracts.events import RoomPayload
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import GifId, RoomId, UserId
from gifchat_web.app import create_app
from gifchat_web.http.session_cookies import SessionCookies
from gifchat_web.ports import Caller, RoomsPage, Sort
from gifchat_web.settings import Settings

SECRETS = ("older-secret", "newest-secret")
ORIGIN = "http://chat.test"


@dataclass
class FakeRoomsApi:
    """The port `RoomsApi` in memory. While `outage` is set, every request fails with it."""

    rooms: dict[RoomId, RoomPayload] = field(default_factory=dict)
    passwords: dict[RoomId, str] = field(default_factory=dict)
    grants: set[tuple[RoomId, UserId]] = field(default_factory=set)
    posts: list[tuple[RoomId, UserId, str]] = field(default_factory=list)
    uploads: list[tuple[str, str | None, bytes]] = field(default_factory=list)
    callers: list[Caller] = field(default_factory=list)
    signed_out: list[UserId] = field(default_factory=list)
    outage: ErrorCode | None = None
    _ids: Iterator[int] = field(default_factory=lambda: count(1))

    def _who(self, caller: Caller) -> Identity:
        self.callers.append(caller)
        if self.outage:
            raise Refused(self.outage, 7)
        session = SessionCookies(SECRETS, secure=False).read(caller.session_cookie)
        assert session, "web must pass on a session that it has signed"
        return session.identity

    def _room(self, room_id: RoomId) -> RoomPayload:
        if room_id not in self.rooms:
            raise Refused(errors.ROOM_NOT_FOUND)
        return self.rooms[room_id]

    async def sign_out(self, caller: Caller) -> None:
        user_id = self._who(caller).user_id
        if user_id in self.signed_out:
            raise Refused(errors.SESSION_REVOKED)
        self.signed_out.append(user_id)

    async def list_rooms(self, caller: Caller, *, query: str, sort: Sort, cursor: str | None) -> RoomsPage:
        self._who(caller)
        return RoomsPage([room for room in self.rooms.values() if query in room["title"]], None)

    async def get_room(self, caller: Caller, room_id: RoomId) -> RoomPayload:
        self._who(caller)
        return self._room(room_id)

    async def create_room(self, caller: Caller, title: str, max_members: int, password: str | None) -> RoomPayload:
        owner = self._who(caller)
        if not title or max_members < 2:
            raise Refused(errors.VALIDATION_FAILED)
        room_id = RoomId(f"{next(self._ids):024x}")
        self.rooms[room_id] = {
            "_id": room_id,
            "title": title,
            "max": max_members,
            "private": password is not None,
            "owner": owner.color,
            "owner_id": owner.user_id,
            "slow_mode_s": 0,
            "createdAt": "2026-01-02T03:04:05.678Z",
            "members": 0,
        }
        if password is not None:
            self.passwords[room_id] = password
        return self.rooms[room_id]

    async def remove_room(self, caller: Caller, room_id: RoomId) -> None:
        who = self._who(caller)
        if self._room(room_id)["owner_id"] != who.user_id:
            raise Refused(errors.NOT_OWNER)
        del self.rooms[room_id]

    async def admit(self, caller: Caller, room_id: RoomId, password: str | None) -> RoomPayload:
        who, room = self._who(caller), self._room(room_id)
        wanted = self.passwords.get(room_id)
        if wanted is not None and room["owner_id"] != who.user_id and (room_id, who.user_id) not in self.grants:
            if password is None:
                raise Refused(errors.PASSWORD_REQUIRED)
            if password != wanted:
                raise Refused(errors.WRONG_PASSWORD)
            self.grants.add((room_id, who.user_id))
        if room["members"] >= room["max"]:
            raise Refused(errors.ROOM_FULL)
        return room

    async def post_text(self, caller: Caller, room_id: RoomId, text: str) -> None:
        self.posts.append((self._room(room_id)["_id"], self._who(caller).user_id, text))

    async def upload_gif(
        self, caller: Caller, room_id: RoomId, content_type: str, content_length: str | None, body: AsyncIterator[bytes]
    ) -> GifId:
        self._who(caller)
        self.uploads.append((content_type, content_length, b"".join([chunk async for chunk in body])))
        return GifId("0" * 64)

    async def post_gif(self, caller: Caller, room_id: RoomId, gif_id: GifId) -> None:
        self.posts.append((self._room(room_id)["_id"], self._who(caller).user_id, gif_id))


@pytest.fixture
def rooms_api() -> FakeRoomsApi:
    return FakeRoomsApi()


Visitor = Callable[..., httpx.AsyncClient]


@pytest.fixture
async def visitor(rooms_api: FakeRoomsApi) -> AsyncIterator[Visitor]:
    """Makes separate browsers. Each keeps its cookies, and none follows redirects."""
    settings = Settings(session_secrets=SECRETS, allowed_origins=(ORIGIN,))
    app = create_app(settings, rooms_api)
    clients: list[httpx.AsyncClient] = []

    def new(language: str = "ko", **headers: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=("203.0.113.9", 40_000))
        accept = {"accept": "text/html", "accept-language": language}
        clients.append(httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers={**accept, **headers}))
        return clients[-1]

    yield new
    for client in clients:
        await client.aclose()


@pytest.fixture
def alice(visitor: Visitor) -> httpx.AsyncClient:
    return visitor()


@pytest.fixture
def bob(visitor: Visitor) -> httpx.AsyncClient:
    return visitor()
