"""The service as a whole: probes, metrics, hosting records for gateways, and shutdown."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import REGISTRY

from gifchat_contracts.identity import Identity
from gifchat_rooms_api.app import create_app
from gifchat_rooms_api.settings import Settings
from gifchat_rooms_api.use_cases.janitor import Janitor

from .conftest import Api, StartApi

pytestmark = pytest.mark.servers

NOWHERE = "redis://127.0.0.1:1/0"


async def test_readiness_reports_each_dependency(api: Api) -> None:
    operator = await api.client("http://test")
    assert (await operator.get("/health/live")).json() == {"status": "ok"}
    assert (await operator.get("/health/ready")).json() == {"status": "ok", "mongo": "ok", "redis": "ok"}


async def test_the_service_is_degraded_but_ready_without_redis(start_api: StartApi) -> None:
    api = await start_api(redis_url=NOWHERE)
    answer = await (await api.client("http://test")).get("/health/ready")
    assert (answer.status_code, answer.json()["status"], answer.json()["redis"]) == (200, "degraded", "down")
    anne = await api.user("anne")
    room = await anne.room()
    posted = await anne.http.post(f"/rooms/{room['_id']}/messages", json={"client_message_id": "k", "text": "hi"})
    assert posted.status_code == 201
    assert [each["_id"] for each in (await anne.http.get("/rooms")).json()["items"]] == [room["_id"]]


async def test_the_service_is_live_but_unready_without_mongodb(start_api: StartApi, valkey: str) -> None:
    api: Api = await start_api()
    away = create_app(Settings(mongo_url="mongodb://127.0.0.1:1/?replicaSet=rs0", redis_url=valkey))
    async with away.router.lifespan_context(away):
        api.app = away
        operator = await api.client("http://test")
        assert (await operator.get("/health/live")).status_code == 200
        assert (await operator.get("/health/ready")).status_code == 503
        answer = await operator.get("/api/v1/rooms")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1


async def test_requests_are_counted_by_route_not_by_path(api: Api) -> None:
    anne = await api.user("anne")
    room = await anne.room()
    await anne.http.get(f"/rooms/{room['_id']}")
    await anne.http.request("BREW", "/rooms/coffee")
    numbers = (await (await api.client("http://test")).get("/metrics")).text
    assert (
        'http_requests_total{method="GET",route="/api/v1/rooms/{room_id}",service="rooms-api",status="200"}' in numbers
    )
    assert (
        'http_requests_total{method="other",route="/api/v1/rooms/{room_id}",service="rooms-api",status="405"}'
        in numbers
    )
    for method, status in (("GET", 200), ("other", 405)):
        labels = f'method="{method}",route="/api/v1/rooms/{{room_id}}",service="rooms-api",status="{status}"'
        assert f"http_requests_total{{{labels}}}" in numbers
    assert room["_id"] not in numbers
    assert "coffee" not in numbers


async def test_refusals_are_counted_by_code(api: Api) -> None:
    def refused() -> float:
        return REGISTRY.get_sample_value("rooms_api_refused_total", {"code": "room_not_found"}) or 0.0

    before = refused()
    anne = await api.user("anne")
    assert (await anne.http.get(f"/rooms/{'0' * 24}")).status_code == 404
    assert refused() == before + 1


async def test_only_gateways_can_read_hosting_records(api: Api) -> None:
    anne, bob = await api.user("anne"), await api.user("bob")
    room = await anne.room(password="secret")
    await anne.http.post(f"/rooms/{room['_id']}/messages", json={"client_message_id": "k", "text": "hi"})
    await anne.http.put(f"/rooms/{room['_id']}/bans/{bob.who.user_id}")
    gateway = await api.gateway()
    record = (await gateway.get(f"/rooms/{room['_id']}")).json()
    assert record["room"] == room
    assert (record["head"], record["access_version"], record["owner_id"]) == (1, 1, anne.who.user_id)
    assert record["sanctions"] == {bob.who.user_id: {"banned_until": "forever"}}
    assert "argon2" not in str(record)
    heads = (await gateway.post("/heads", json={"rooms": [room["_id"], "0" * 24]})).json()["heads"]
    assert heads == {room["_id"]: {"epoch": record["epoch"], "seq": 1}}
    assert (await gateway.get(f"/rooms/{'0' * 24}")).status_code == 404
    stranger = await api.client("http://test/internal/v1")
    for authorization in ("", "Bearer ", "Bearer é", "Basic eDp5"):
        headers = {b"Authorization": authorization.encode()}
        answer = await stranger.get(f"/rooms/{room['_id']}", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "internal_only")


def losing_one_cancellation(work: Callable[[], Awaitable[None]]) -> Callable[[object], Awaitable[None]]:
    """Lose one cancellation, as `asyncio.wait_for` on Python 3.11 does if the result arrives at the same time."""

    async def lossy(_self: object) -> None:
        try:
            await work()
        except asyncio.CancelledError:
            await work()

    return lossy


async def test_the_service_stops_even_if_a_cancellation_is_lost(
    monkeypatch: pytest.MonkeyPatch, mongo_url: str, mongo_database: str, valkey: str
) -> None:
    begun: asyncio.Future[asyncio.Task[Any] | None] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        if not begun.done():
            begun.set_result(asyncio.current_task())
        await asyncio.Event().wait()

    monkeypatch.setattr(Janitor, "run", losing_one_cancellation(work))
    app = create_app(Settings(mongo_url=mongo_url, mongo_database=mongo_database, redis_url=valkey))
    async with asyncio.timeout(10):
        async with app.router.lifespan_context(app):
            working = await begun
    assert working is not None
    assert working.done()


async def test_relayed_messages_share_the_senders_addresses_budget(start_api: StartApi) -> None:
    api = await start_api(room_messages_per_address=0.2, room_messages_per_address_at_once=2)
    anne, gateway = await api.user("anne"), await api.gateway()
    room = await anne.room()

    async def relayed(sender: str, address: str) -> int:
        who = Identity.of_session(sender)
        body = {
            "client_message_id": sender,
            "text": "hi",
            "user_id": who.user_id,
            "color": who.color,
            "address": address,
        }
        answer = await gateway.post(f"/rooms/{room['_id']}/messages", json=body)
        return int(answer.status_code)

    statuses = [await relayed(sender, "203.0.113.7") for sender in ("one", "two", "three")]
    assert statuses == [201, 201, 429]
    assert await relayed("three", "203.0.113.8") == 201
