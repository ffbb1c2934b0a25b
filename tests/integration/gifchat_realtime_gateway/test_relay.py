"""Any gateway serves any Engine.IO request: it relays a request for another node's session to that node."""

import asyncio
import json
import secrets
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import websockets
from aiohttp import web
from redis.asyncio import Redis
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gifchat_chassis.secret_rules import DEVELOPMENT_TOKEN
from gifchat_cli.ports import LOOPBACK, free_port
from gifchat_cli.prerequisites import find_valkey_server
from gifchat_cli.servers.valkey import Valkey, mark_as_new
from gifchat_contracts import keys
from gifchat_contracts.identity import SESSION_COOKIE
from gifchat_realtime_gateway.engine.relay import RELAY_PATH
from gifchat_realtime_gateway.engine.sid import new_sid, node_tag, tag_of
from gifchat_testkit import affinity, tokens
from gifchat_testkit.servers import running
from gifchat_testkit.services import Service, running_service

pytestmark = pytest.mark.servers

DEADLINE_S = 10.0
AT_ONCE_S = 1.0
POLLING = "/socket.io/?EIO=4&transport=polling"
UPGRADE = "/socket.io/?EIO=4&transport=websocket"
UNKNOWN = {"code": 1, "message": "Session ID unknown"}
FORBIDDEN = {"code": 4, "message": "Forbidden"}


@pytest.fixture(scope="module")
def environment(valkey_url: str) -> dict[str, str]:
    mark_as_new(valkey_url)
    return {"REDIS_URL": valkey_url, "LOG_LEVEL": "debug", "ROOMS_API_URL": f"http://{LOOPBACK}:1"}


@pytest.fixture(scope="module")
def gateways(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Service, Service, Service]]:
    work_dir = tmp_path_factory.mktemp("relay")
    with ExitStack() as stack:
        one, two, three = (
            stack.enter_context(
                running_service("gifchat_realtime_gateway", work_dir, NODE_NAME=f"relay-{number}", **environment)
            )
            for number in (1, 2, 3)
        )
        yield one, two, three
        for gateway in (one, two, three):
            assert gateway.process.poll() is None, gateway.log[-3_000:]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=DEADLINE_S)
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


async def open_session(http: aiohttp.ClientSession, gateway: Service, **headers: str) -> str:
    """Open a polling session on this gateway. Returns its sid."""
    async with http.get(gateway.url + POLLING, headers=headers) as answer:
        sid: str = json.loads((await answer.text())[1:])["sid"]
        return sid


async def get(http: aiohttp.ClientSession, gateway: Service, sid: str, **headers: str) -> tuple[int, str]:
    async with http.get(f"{gateway.url}{POLLING}&sid={sid}", headers=headers) as answer:
        return answer.status, await answer.text()


async def post(
    http: aiohttp.ClientSession, gateway: Service, sid: str, packets: str, **headers: str
) -> tuple[int, str]:
    async with http.post(f"{gateway.url}{POLLING}&sid={sid}", data=packets, headers=headers) as answer:
        return answer.status, await answer.text()


@asynccontextmanager
async def upgrading(gateway: Service, sid: str, **headers: str) -> AsyncIterator[ClientConnection]:
    url = f"{gateway.url.replace('http', 'ws', 1)}{UPGRADE}&sid={sid}"
    async with websockets.connect(url, additional_headers=headers, compression=None) as line:
        yield line


# ------------------------------------------------------------------------------------------------------- polling


async def test_a_polling_session_is_served_by_every_gateway(
    http: aiohttp.ClientSession, gateways: tuple[Service, Service, Service]
) -> None:
    one, two, three = gateways
    sid = await open_session(http, one)
    assert await post(http, two, sid, "40/room,") == (200, "ok")
    status, packets = await get(http, three, sid)
    assert status == 200
    assert packets.startswith('40/room,{"sid":')
    for gateway in gateways:
        assert await post(http, gateway, sid, f'42/room,{gateways.index(gateway)}["probe"]') == (200, "ok")
    answered: list[str] = []
    while len(answered) < len(gateways):
        answered += (await get(http, two, sid))[1].split("\x1e")
    assert [packet[:9] for packet in answered] == ["43/room,0", "43/room,1", "43/room,2"], "in the order of the POSTs"


async def test_overlapping_relayed_polls_close_the_session(
    http: aiohttp.ClientSession, gateways: tuple[Service, Service, Service]
) -> None:
    one, two, three = gateways
    sid = await open_session(http, one)
    polls = [asyncio.create_task(get(http, gateway, sid)) for gateway in (two, three)]
    answers = await asyncio.gather(*polls)
    assert sorted(status for status, _ in answers) == [200, 400]
    assert [body for status, body in answers if status == 200] == ["1"], "the session is closed"


async def test_a_client_that_disconnects_from_a_relayed_poll_ends_its_session(
    http: aiohttp.ClientSession, gateways: tuple[Service, Service, Service]
) -> None:
    one, two, _ = gateways
    sid = await open_session(http, one)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await get(http, two, sid)
    async with asyncio.timeout(DEADLINE_S):
        while (await post(http, one, sid, "3"))[0] != 400:
            await asyncio.sleep(0.02)


async def test_an_oversized_or_truncated_relayed_post_ends_the_session(
    http: aiohttp.ClientSession, gateways: tuple[Service, Service, Service]
) -> None:
    one, two, _ = gateways
    sid = await open_session(http, one)
    assert (await post(http, two, sid, "4" + "x" * 70_000))[0] == 413
    assert (await post(http, one, sid, "3"))[0] == 400

    sid = await open_session(http, one)
    _, writer = await asyncio.open_connection(LOOPBACK, two.port)
    writer.write(f"POST {POLLING}&sid={sid} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n4half".encode())
    await writer.drain()
    writer.close()
    async with asyncio.timeout(DEADLINE_S):
        while (await post(http, one, sid, "3"))[0] != 400:
            await asyncio.sleep(0.02)


async def test_a_session_of_a_dead_node_is_unknown_at_once(
    http: aiohttp.ClientSession,
    gateways: tuple[Service, Service, Service],
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    one = gateways[0]
    with running_service("gifchat_realtime_gateway", tmp_path, NODE_NAME="relay-killed", **environment) as killed:
        sid = await open_session(http, killed)
        assert await post(http, one, sid, "3") == (200, "ok")
        waiting = asyncio.create_task(get(http, one, sid))
        await asyncio.sleep(0.1)
        killed.send(signal.SIGKILL)
        status, body = await waiting
        assert (status, json.loads(body)) == (400, UNKNOWN)
    for gone in (sid, new_sid(node_tag("no such node")), new_sid()):
        began = time.monotonic()
        status, body = await get(http, one, gone)
        assert (status, json.loads(body)) == (400, UNKNOWN)
        with pytest.raises(InvalidStatus) as refused:
            async with upgrading(one, gone):
                pass
        assert refused.value.response.status_code == 400
        assert json.loads(refused.value.response.body or b"") == UNKNOWN
        assert time.monotonic() - began < AT_ONCE_S


# --------------------------------------------------------------------------------------------------- WebSockets


async def test_an_upgrade_through_another_gateway_carries_text_and_bytes_both_ways(
    http: aiohttp.ClientSession, gateways: tuple[Service, Service, Service]
) -> None:
    one, two, three = gateways
    sid = await open_session(http, one)
    assert await post(http, three, sid, "40/room,") == (200, "ok")
    async with upgrading(two, sid) as line:
        await line.send("2probe")
        assert await line.recv() == "3probe"
        await line.send("5")
        assert str(await line.recv()).startswith("40/room,"), "the packet that waited for a poll"
        for number in range(200):
            await line.send(f'42/room,{number}["probe","{"x" * 3_000}"]')
            assert str(await line.recv()).startswith(f"43/room,{number}[")
        assert (await get(http, three, sid))[0] == 400, "the client has stopped polling"
        await line.send("nonsense")
        with pytest.raises(ConnectionClosed):
            await line.recv()
        assert line.close_code == 1002
    assert (await get(http, one, sid))[0] == 400


async def test_aborting_a_relayed_websocket_ends_the_session_and_leaks_nothing(
    http: aiohttp.ClientSession, gateways: tuple[Service, Service, Service]
) -> None:
    one, two, _ = gateways
    before = await sockets(http, one)
    sid = await open_session(http, one)
    async with upgrading(two, sid) as line:
        await line.send("2probe")
        assert await line.recv() == "3probe"
        await line.send("5")
        await line.send("40/room,")
        await line.recv()
        assert await sockets(http, one) == before + 1
        line.transport.abort()
    async with asyncio.timeout(DEADLINE_S):
        while await sockets(http, one) != before:
            await asyncio.sleep(0.02)


async def sockets(http: aiohttp.ClientSession, gateway: Service) -> int:
    async with http.get(gateway.url + "/health/ready") as answer:
        count: int = (await answer.json())["sockets"]
        return count


async def test_a_stopping_gateway_ends_what_it_relays_and_stops_in_time(
    http: aiohttp.ClientSession,
    gateways: tuple[Service, Service, Service],
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    one = gateways[0]
    with running_service("gifchat_realtime_gateway", tmp_path, NODE_NAME="relay-stops", **environment) as stops:
        upgraded, polled = await open_session(http, one), await open_session(http, one)
        async with upgrading(stops, upgraded) as line:
            await line.send("2probe")
            assert await line.recv() == "3probe"
            poll = asyncio.create_task(get(http, stops, polled))
            await asyncio.sleep(0.1)
            began = time.monotonic()
            stops.send(signal.SIGTERM)
            with pytest.raises(ConnectionClosed):
                await line.recv()
            assert (await poll)[0] == 400
        assert await asyncio.to_thread(stops.wait) == 0
        assert time.monotonic() - began < 6.0


# ------------------------------------------------------------------------------------------------ the relay's path


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", f"Basic {DEVELOPMENT_TOKEN}"])
async def test_only_gateways_may_use_the_relay_path(
    http: aiohttp.ClientSession, gateways: tuple[Service, Service, Service], authorization: str
) -> None:
    one = gateways[0]
    sid = await open_session(http, one)
    headers = {"Authorization": authorization} if authorization else {}
    for method in ("GET", "POST"):
        async with http.request(
            method, f"{one.url}{RELAY_PATH}?EIO=4&transport=polling&sid={sid}", headers=headers
        ) as answer:
            assert answer.status == 401
            assert (await answer.json())["code"] == "internal_only"
    url = f"{one.url.replace('http', 'ws', 1)}{RELAY_PATH}?EIO=4&transport=websocket&sid={sid}"
    with pytest.raises(InvalidStatus) as refused:
        async with websockets.connect(url, additional_headers=headers):
            pass
    assert refused.value.response.status_code == 401
    assert await post(http, one, sid, "3") == (200, "ok"), "the session is unchanged"


async def test_a_relayed_request_opens_no_session_and_is_not_relayed_again(
    http: aiohttp.ClientSession, gateways: tuple[Service, Service, Service]
) -> None:
    one, two, _ = gateways
    headers = {"Authorization": f"Bearer {DEVELOPMENT_TOKEN}"}
    async with http.get(f"{one.url}{RELAY_PATH}?EIO=4&transport=polling", headers=headers) as answer:
        assert answer.status == 400
    sid = await open_session(http, two)
    async with http.get(f"{one.url}{RELAY_PATH}?EIO=4&transport=polling&sid={sid}", headers=headers) as answer:
        assert (answer.status, await answer.json()) == (400, UNKNOWN)
    url = one.url.replace("http", "ws", 1)
    for query in ("", f"&sid={sid}"):
        with pytest.raises(InvalidStatus) as refused:
            async with websockets.connect(
                f"{url}{RELAY_PATH}?EIO=4&transport=websocket{query}", additional_headers=headers
            ):
                pass
        assert refused.value.response.status_code == 400


async def test_the_sessions_node_gets_the_clients_address_and_the_relays_token(
    http: aiohttp.ClientSession, gateways: tuple[Service, Service, Service], valkey_url: str
) -> None:
    one = gateways[0]
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        seen.append(request)
        return web.Response(text="6")

    owner = web.Application()
    owner.router.add_route("*", RELAY_PATH, answer)
    runner = web.AppRunner(owner)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, LOOPBACK, port).start()
    tag = node_tag(secrets.token_hex(4))
    try:
        async with Redis.from_url(valkey_url) as redis:
            await redis.zadd(keys.NODE_LEASES, {tag: (time.time() + 60) * 1000})
            await redis.hset(keys.NODE_ADDRESSES, tag, f"{LOOPBACK}:{port}")
        sid = new_sid(tag)
        forged = {"X-Forwarded-For": "203.0.113.9", "Cookie": "a=b; c=d", "Authorization": "Bearer mine"}
        assert await get(http, one, sid, **forged) == (200, "6")
        assert await post(http, one, f"{sid}&t=a%26b", "4hello", **forged) == (200, "6")
        with pytest.raises(InvalidStatus):
            async with upgrading(one, sid, **forged):
                pass
    finally:
        await runner.cleanup()
    assert [request.method for request in seen] == ["GET", "POST", "GET"]
    for request in seen:
        assert request.headers["X-Forwarded-For"] == "203.0.113.9", "as reported by a trusted proxy"
        assert request.headers.getall("Authorization") == [f"Bearer {DEVELOPMENT_TOKEN}"]
        assert request.headers["Cookie"] == "a=b; c=d"
    assert seen[1].rel_url.raw_query_string.endswith(f"&sid={sid}&t=a%26b")
    assert seen[2].headers["Upgrade"].lower() == "websocket"


# ------------------------------------------------------------------------------------------------- Redis is down


async def test_relaying_continues_while_redis_is_down_and_after_it_returns_empty(
    http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    port = free_port()

    def valkey() -> Any:
        folder = tmp_path / secrets.token_hex(4)
        folder.mkdir()
        server = Valkey(find_valkey_server(), port, folder)
        return running("valkey", server.command(), folder, server.wait_until_ready)

    settings = {"REDIS_URL": f"redis://{LOOPBACK}:{port}/0", "ROOMS_API_URL": f"http://{LOOPBACK}:1"}
    with ExitStack() as stack:
        with valkey():
            mark_as_new(settings["REDIS_URL"])
            one, two = (
                stack.enter_context(running_service("gifchat_realtime_gateway", tmp_path, NODE_NAME=name, **settings))
                for name in ("down-1", "down-2")
            )
            sid = await open_session(http, one)
            assert await post(http, two, sid, "3") == (200, "ok")
        began = time.monotonic()
        while time.monotonic() - began < 12.0:
            assert await post(http, two, sid, "3") == (200, "ok"), "longer than a lease"
            await asyncio.sleep(0.25)
        with valkey():
            began = time.monotonic()
            while time.monotonic() - began < 5.0:
                assert await post(http, two, sid, "3") == (200, "ok")
                await asyncio.sleep(0.1)
            late = await open_session(http, two)
            assert await post(http, one, late, "3") == (200, "ok")


# ---------------------------------------------------------------------------------------------- bound to sessions


def cookie(session_id: str, *, age_s: float = 0) -> str:
    return f"{SESSION_COOKIE}={tokens.session_cookie(session_id, age_s=age_s)}"


@pytest.mark.parametrize("way", ["directly", "relayed"])
async def test_a_sid_needs_the_session_that_opened_it(
    http: aiohttp.ClientSession, gateways: tuple[Service, Service, Service], way: str
) -> None:
    one = gateways[0]
    asked = gateways[0] if way == "directly" else gateways[1]
    session_id = secrets.token_hex(16)
    sid = await open_session(http, one, Cookie=cookie(session_id))
    for wrong in ({"Cookie": cookie("another")}, {"Cookie": f"{SESSION_COOKIE}=forged"}, {}):
        for status, body in (await get(http, asked, sid, **wrong), await post(http, asked, sid, "3", **wrong)):
            assert (status, json.loads(body)) == (403, FORBIDDEN)
        with pytest.raises(InvalidStatus) as refused:
            async with upgrading(asked, sid, **wrong):
                pass
        assert refused.value.response.status_code == 403
    # The same session with a new signature, among other cookies.
    again = {"Cookie": f"a=b; {cookie(session_id, age_s=60)}"}
    assert await post(http, asked, sid, "40/room,", **again) == (200, "ok")
    async with upgrading(asked, sid, **again) as line:
        await line.send("2probe")
        assert await line.recv() == "3probe"


async def test_a_sid_opened_without_a_session_accepts_any_session(
    http: aiohttp.ClientSession, gateways: tuple[Service, Service, Service]
) -> None:
    one, two, _ = gateways
    sid = await open_session(http, one)
    assert await post(http, two, sid, "3", Cookie=cookie("one")) == (200, "ok")
    assert await post(http, one, sid, "3", Cookie=cookie("another")) == (200, "ok")
    assert await post(http, one, sid, "3") == (200, "ok")


async def test_a_sid_and_an_affinity_tag_reveal_no_address(
    http: aiohttp.ClientSession, gateways: tuple[Service, Service, Service]
) -> None:
    one = gateways[0]
    async with http.get(one.url + POLLING) as answer:
        tag = answer.headers["x-engine-io-node"]
        assert tag_of(json.loads((await answer.text())[1:])["sid"]) == tag
    assert tag == affinity.tag_in(one.log)
    assert tag != node_tag(f"{LOOPBACK}:{one.port}")
