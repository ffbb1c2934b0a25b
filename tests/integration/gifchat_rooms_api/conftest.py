"""The whole service on a real MongoDB and a real Valkey. Tests call it as an ASGI app, without a socket."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from itsdangerous import URLSafeTimedSerializer
from pymongo import AsyncMongoClient, MongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.database import Database
from redis.asyncio import Redis

from gifchat_chassis.secret_rules import DEVELOPMENT_TOKEN
from gifchat_contracts import identity, keys
from gifchat_contracts.codec import Frame, decode
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api import app as composition
from gifchat_rooms_api.app import create_app
from gifchat_rooms_api.settings import Settings
from gifchat_rooms_api.use_cases import janitor as janitor_module
from gifchat_rooms_api.use_cases.janitor import Janitor

SECRET = identity.DEVELOPMENT_SECRET
PASSWORD = "meow meow"


def signed(salt: str, value: object) -> str:
    serializer = URLSafeTimedSerializer(
        [SECRET], salt=salt, signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"}
    )
    return str(serializer.dumps(value))


class Clock:
    """The service's clock: real time plus an offset that tests advance."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def forward(self, **by: float) -> None:
        self._ahead += timedelta(**by)


@dataclass
class User:
    """A session with an HTTP client."""

    session_id: str
    http: httpx.AsyncClient

    @property
    def who(self) -> Identity:
        return Identity.of_session(self.session_id)

    async def room(self, **wanted: Any) -> dict[str, Any]:
        answer = await self.http.post("/rooms", json={"title": "a room"} | wanted)
        assert answer.status_code == 201, answer.text
        room: dict[str, Any] = answer.json()
        return room

    def membership(self, room: dict[str, Any], access_version: int = 1) -> dict[str, str]:
        """Return the header with the membership from a join ack."""
        content = {"r": room["_id"], "u": self.who.user_id, "v": access_version}
        return {identity.MEMBERSHIP_HEADER: signed(identity.MEMBERSHIP_SALT, content)}


@dataclass
class Api:
    app: FastAPI
    stack: AsyncExitStack
    redis: Redis
    database: AsyncDatabase[dict[str, Any]]
    clock: Clock

    async def client(self, base_url: str, address: str = "203.0.113.7", **options: Any) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, client=(address, 1234))
        return await self.stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url=base_url, **options)
        )

    async def user(self, session_id: str, address: str = "203.0.113.7") -> User:
        cookies = {identity.SESSION_COOKIE: signed(identity.SESSION_SALT, session_id)}
        return User(session_id, await self.client("http://test/api/v1", address, cookies=cookies))

    async def stranger(self) -> httpx.AsyncClient:
        return await self.client("http://test/api/v1")

    async def gateway(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {DEVELOPMENT_TOKEN}"}
        return await self.client("http://test/internal/v1", headers=headers)

    async def take_seats(self, room: dict[str, Any], *user_ids: UserId) -> None:
        """Take seats as a gateway's Lua script does."""
        room_id = RoomId(room["_id"])
        for user_id in user_ids:
            await self.redis.hset(keys.members(room_id), user_id, "1|#86362d")
        members = await self.redis.hlen(keys.members(room_id))
        await self.redis.zadd(keys.occupancy(keys.partition_of(room_id)), {room_id: members})

    async def settle(self, room: dict[str, Any]) -> None:
        """Mark the seats of the room's partition as complete, as gateways do a while after Redis came back empty."""
        await self.redis.set(keys.generation(keys.partition_of(RoomId(room["_id"]))), 0)

    async def leave_seats(self, room: dict[str, Any]) -> None:
        room_id = RoomId(room["_id"])
        await self.redis.delete(keys.members(room_id))
        await self.redis.zrem(keys.occupancy(keys.partition_of(room_id)), room_id)

    async def listen(self, channel: str) -> "Listener":
        pubsub = self.redis.pubsub()
        self.stack.push_async_callback(pubsub.aclose)
        await pubsub.ssubscribe(channel)
        listener = Listener(pubsub)
        await listener.confirmed()
        return listener


@dataclass
class Listener:
    pubsub: Any

    async def confirmed(self) -> None:
        async with asyncio.timeout(5):
            while (await self.pubsub.get_message(timeout=None))["type"] != "ssubscribe":
                pass

    async def next(self) -> Frame:
        async with asyncio.timeout(5):
            while (message := await self.pubsub.get_message(timeout=None))["type"] != "smessage":
                pass
        return decode(message["data"])


StartApi = Callable[..., Any]


@pytest.fixture(scope="session")
def kept_database(mongo_url: str) -> Iterator[Database[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](mongo_url) as client:
        database = client[f"test_{secrets.token_hex(6)}"]
        yield database
        client.drop_database(database)


@pytest.fixture
def mongo_database(kept_database: Database[dict[str, Any]]) -> Iterator[str]:
    """The name of an empty database. Its indexes are kept, because creating them takes longer than most tests."""
    yield kept_database.name
    for name in kept_database.list_collection_names():
        kept_database[name].delete_many({})


@dataclass
class Rounds:
    """Counts the janitor's rounds, which run every 10 ms and always sweep GIFs."""

    begun: int = 0
    ended: int = 0

    async def whole(self) -> None:
        """Wait for the end of a round that starts after this call."""
        begun = self.begun
        async with asyncio.timeout(10):
            while self.ended <= begun:
                await asyncio.sleep(0.005)


@pytest.fixture
def janitor(monkeypatch: pytest.MonkeyPatch) -> Rounds:
    rounds, do_round = Rounds(), Janitor.round

    async def counted(self: Janitor, *, sweep_gifs: bool) -> None:
        rounds.begun += 1
        number = rounds.begun
        await do_round(self, sweep_gifs=sweep_gifs)
        rounds.ended = number

    monkeypatch.setattr(Janitor, "round", counted)
    monkeypatch.setattr(janitor_module, "PERIOD_S", 0.01)
    monkeypatch.setattr(janitor_module, "ROUNDS_PER_GIF_SWEEP", 1)
    return rounds


@pytest.fixture
async def start_api(
    mongo_url: str, mongo_database: str, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[StartApi]:
    """Starts the service with the settings that a test passes."""
    clock = Clock()
    monkeypatch.setattr(composition, "_now", clock)
    async with AsyncExitStack() as stack:
        mongo = await stack.enter_async_context(AsyncMongoClient[dict[str, Any]](mongo_url))
        redis = Redis.from_url(valkey)
        stack.push_async_callback(redis.aclose)

        async def start(**settings: Any) -> Api:
            servers = {"mongo_url": mongo_url, "mongo_database": mongo_database, "redis_url": valkey}
            defaults = servers | {"empty_room_ttl": 0}
            app = create_app(Settings(**(defaults | settings)))
            await stack.enter_async_context(app.router.lifespan_context(app))
            api = Api(app, stack, redis, mongo[mongo_database], clock)
            operator = await api.client("http://test")
            async with asyncio.timeout(10):
                while (await operator.get("/health/ready")).status_code != 200:
                    await asyncio.sleep(0.01)
            return api

        yield start


@pytest.fixture
async def api(start_api: StartApi) -> Api:
    started: Api = await start_api()
    return started
