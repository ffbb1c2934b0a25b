"""web hears from a real Redis that the list of rooms has changed."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis
from starlette.applications import Starlette

from gifchat_chassis.redis_connections import redis_client
from gifchat_contracts.codec import Frame, Kind, encode
from gifchat_contracts.identity import DEVELOPMENT_SECRET, SESSION_COOKIE
from gifchat_contracts.keys import LOBBY_CHANNEL
from gifchat_testkit.services import Service, running_service
from gifchat_testkit.tokens import session_cookie
from gifchat_web import app as composition
from gifchat_web.adapters import redis_lobby
from gifchat_web.adapters.redis_lobby import RedisLobby
from gifchat_web.settings import Settings
from gifchat_web.use_cases.list_rooms import ListRooms

pytestmark = pytest.mark.servers

WITHIN_S = 15.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
async def redis(valkey: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey) as client:
        yield client


async def publish(redis: Redis, kind: Kind) -> int:
    """Publish an event in the lobby; return how many heard it."""
    return int(await redis.spublish(LOBBY_CHANNEL, encode(Frame(kind, b"[]"))))


async def until_heard(redis: Redis, kind: Kind) -> None:
    async with asyncio.timeout(WITHIN_S):
        while await publish(redis, kind) == 0:
            await asyncio.sleep(0.01)


async def test_each_change_is_heard_also_after_a_lost_connection(
    redis: Redis, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_lobby, "RETRY_S", 0.01)
    heard: list[None] = []
    listening = redis_client(valkey, max_connections=2)
    task = asyncio.create_task(RedisLobby(listening, lambda: heard.append(None)).run())
    try:
        await until_heard(redis, Kind.OCCUPANCY)
        changes = [Kind.NEW_ROOM, Kind.ROOM_CHANGED, Kind.ROOM_REMOVED]
        for kind in changes:
            assert await publish(redis, kind) == 1
        await until(lambda: len(heard) >= len(changes))
        assert len(heard) == len(changes), "a number of members is not a change"
        await redis.client_kill_filter(_type="pubsub")
        await until_heard(redis, Kind.NEW_ROOM)
        await until(lambda: len(heard) == len(changes) + 1)
    finally:
        task.cancel()
        await asyncio.wait([task])
        await listening.aclose()
    assert task.cancelled()


async def test_an_idle_connection_stays_open(redis: Redis, valkey: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_lobby, "PING_INTERVAL_S", 0.01)
    heard: list[None] = []
    listening = redis_client(valkey, max_connections=2)
    task = asyncio.create_task(RedisLobby(listening, lambda: heard.append(None)).run())

    async def pings() -> int:
        stats = await redis.info("commandstats")
        return int(stats.get("cmdstat_ping", {"calls": 0})["calls"])

    try:
        await until_heard(redis, Kind.OCCUPANCY)
        before = await pings()
        async with asyncio.timeout(WITHIN_S):
            while await pings() < before + 3:
                await asyncio.sleep(0.01)
        assert await publish(redis, Kind.NEW_ROOM) == 1
        await until(lambda: len(heard) == 1)
    finally:
        task.cancel()
        await asyncio.wait([task])
        await listening.aclose()


@pytest.fixture
def rooms_api(mongo_url: str, valkey: str, tmp_path: Path) -> Iterator[Service]:
    database = f"test_{secrets.token_hex(6)}"
    with running_service(
        "gifchat_rooms_api", tmp_path, MONGO_URL=mongo_url, MONGO_DATABASE=database, REDIS_URL=valkey
    ) as service:
        yield service


async def test_a_change_through_the_api_changes_the_list_before_its_time_is_over(
    rooms_api: Service, redis: Redis, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The clock stands still, so that only an event can drop a page.
    monkeypatch.setattr(composition, "ListRooms", partial(ListRooms, clock=lambda: 0.0))
    settings = Settings(rooms_api_url=rooms_api.url, redis_url=valkey, session_secrets=(DEVELOPMENT_SECRET,))
    app = composition.create_app(settings)
    inner = app
    while not isinstance(inner, Starlette):
        inner = inner._app  # type: ignore[attr-defined]
    cookie = f"{SESSION_COOKIE}={session_cookie('owner')}"
    async with (
        inner.router.lifespan_context(inner),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://chat.test") as browser,
        httpx.AsyncClient(base_url=rooms_api.url, headers={"cookie": cookie}) as api,
    ):
        await until_heard(redis, Kind.OCCUPANCY)

        async def until_shown(text: str, *, shown: bool) -> None:
            async with asyncio.timeout(WITHIN_S):
                while (text in (await browser.get("/")).text) is not shown:
                    await asyncio.sleep(0.01)

        await until_shown("first title", shown=False)
        created = (await api.post("/api/v1/rooms", json={"title": "first title", "max": 5})).raise_for_status()
        await until_shown("first title", shown=True)
        url = f"/api/v1/rooms/{created.json()['_id']}"
        (await api.patch(url, json={"title": "second title"})).raise_for_status()
        await until_shown("second title", shown=True)
        (await api.delete(url)).raise_for_status()
        await until_shown("second title", shown=False)
