"""A client that sends too much is slowed down and then disconnected. Other clients do not notice."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import httpx
import pytest

from gifchat_realtime_gateway.engine.intake import IntakeBounds, Rate
from gifchat_testkit.engine_worlds import NO_BOUNDS, World, engine_world, served
from gifchat_testkit.raw_websocket import RawWebSocket, client_frame, raw_websocket
from gifchat_testkit.waiting import until

PATH = "/socket.io/"
POLLING = {"EIO": "4", "transport": "polling"}
WEBSOCKET = PATH + "?EIO=4&transport=websocket"
DEADLINE_S = 10.0
RATE = Rate(packets_per_s=100.0, packets_at_once=200.0, bytes_per_s=1e6, bytes_at_once=1e6)
BOUNDS = replace(NO_BOUNDS, client=RATE, overspending_s=1.0)
NORMAL = {"X-Forwarded-For": "198.51.100.2"}
_numbers = itertools.count(1)


def new_address() -> dict[str, str]:
    """Return the header of an address that has spent nothing."""
    return {"X-Forwarded-For": f"203.0.113.{next(_numbers)}"}


def slow_world(bounds: IntakeBounds) -> World:
    return engine_world(
        ping_interval_s=25.0,
        ping_timeout_s=20.0,
        bounds=bounds,
        session_of=lambda cookies: cookies.removeprefix("session=") or None,
    )


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with served(slow_world(BOUNDS)) as world:
        yield world


@asynccontextmanager
async def flooder(world: World, headers: dict[str, str] | None = None) -> AsyncIterator[tuple[RawWebSocket, str]]:
    async with raw_websocket(world.port, WEBSOCKET, headers or new_address()) as socket:
        _, packet = await socket.frame()
        yield socket, json.loads(packet[1:])["sid"]


@asynccontextmanager
async def normal(world: World) -> AsyncIterator[RawWebSocket]:
    async with raw_websocket(world.port, WEBSOCKET, NORMAL) as socket:
        await socket.frame()
        yield socket


async def answered(socket: RawWebSocket) -> None:
    """Assert that a message is answered, and wait long enough to stay within the budget."""
    await socket.text("4hello")
    assert await socket.frame() == (1, b"4hello")
    await asyncio.sleep(2 / RATE.packets_per_s)


def notes(world: World, sid: str) -> list[str]:
    """Return what the server has handled of a client's messages."""
    return [call[2] for call in world.calls if call[:2] == ("note", sid)]


async def send_until_closed(socket: RawWebSocket, data: bytes) -> int:
    """Send the data again and again until the connection breaks or nothing more is read. Returns the bytes sent."""
    sent = 0
    try:
        while True:
            async with asyncio.timeout(3.0):
                await socket.send(data)
            sent += len(data)
    except (ConnectionError, TimeoutError, RuntimeError):
        # uvloop raises RuntimeError for a transport that is closed already.
        return sent


@pytest.mark.parametrize(
    "frame",
    [client_frame(1, b"4note:x"), client_frame(1, b"3"), client_frame(9), client_frame(10), client_frame(1, b"6")],
    ids=["messages", "pongs", "websocket-pings", "websocket-pongs", "noops"],
)
async def test_a_flood_of_tiny_packets_is_not_read_and_closed_with_4029(world: World, frame: bytes) -> None:
    async with flooder(world) as (socket, sid), normal(world) as other:
        connection = world.engine.find(sid)
        assert connection is not None
        began = time.monotonic()
        sending = asyncio.create_task(send_until_closed(socket, frame * 10_000))
        while not connection.closed:
            await answered(other)
        took_s = time.monotonic() - began
        opcode = 0
        while opcode != 8:
            opcode, payload = await socket.frame()
        assert (int.from_bytes(payload[:2], "big"), payload[2:]) == (4029, b"rate_limited")
        sending.cancel()
        socket.abort()
        await answered(other)
    assert len(notes(world, sid)) <= RATE.packets_at_once + RATE.packets_per_s * took_s + 1


async def test_an_overspender_may_not_connect_again_until_half_of_its_budget_is_back(world: World) -> None:
    address = new_address()
    users = [{**address, "Cookie": f"session={name}"} for name in ("anne", "bob")]
    async with flooder(world, users[0]) as (socket, sid):
        connection = world.engine.find(sid)
        assert connection is not None
        sending = asyncio.create_task(send_until_closed(socket, client_frame(1, b"4note:x") * 10_000))
        await until(lambda: connection.closed, poll_interval_s=0.01)
        sending.cancel()
        socket.abort()
    async with raw_websocket(world.port, WEBSOCKET, users[0]) as refused:
        assert refused.status == 429
    for headers in (users[1], address):
        async with flooder(world, headers) as (socket, _):
            await answered(socket)

    async def accepted() -> bool:
        async with raw_websocket(world.port, WEBSOCKET, users[0]) as socket:
            return socket.status == 101

    async with asyncio.timeout(DEADLINE_S):
        while not await accepted():
            await asyncio.sleep(0.05)


async def test_the_server_stops_reading_a_flood(world: World) -> None:
    async with flooder(world) as (socket, _):
        sent = await send_until_closed(socket, client_frame(1, b"4note:x") * 10_000)
        # The kernel's buffers take some megabytes.
        assert sent < 32 * 1024 * 1024
        socket.abort()


async def test_a_burst_within_the_budget_is_handled_at_once(world: World) -> None:
    async with flooder(world) as (socket, sid):
        count = int(RATE.packets_at_once)
        await socket.send(b"".join(client_frame(1, f"4note:{number}".encode()) for number in range(count)))
        await until(lambda: len(notes(world, sid)) == count)
        assert notes(world, sid) == [str(number) for number in range(count)]
        assert world.engine.find(sid) is not None


async def test_a_burst_above_the_budget_is_slowed_down_but_complete(world: World) -> None:
    async with flooder(world) as (socket, sid):
        count = int(RATE.packets_at_once + RATE.packets_per_s / 2)
        await socket.send(b"".join(client_frame(1, f"4note:{number}".encode()) for number in range(count)))
        await until(lambda: len(notes(world, sid)) == count)
        assert notes(world, sid) == [str(number) for number in range(count)]
        assert world.engine.find(sid) is not None


async def test_a_posts_many_packets_are_slowed_down_and_the_session_is_closed(world: World) -> None:
    headers = new_address()
    async with httpx.AsyncClient(base_url=world.url, timeout=DEADLINE_S) as http, normal(world) as other:
        answer = await http.get(PATH, params=POLLING, headers=headers)
        query = {**POLLING, "sid": json.loads(answer.text[1:])["sid"]}
        began = time.monotonic()
        body = "\x1e".join(["4note:x"] * 8_000)
        posting = asyncio.create_task(http.post(PATH, params=query, content=body, headers=headers))
        while not posting.done():
            await answered(other)
        refused = await posting
        took_s = time.monotonic() - began
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        gone = await http.get(PATH, params=query, headers=headers)
        assert (gone.status_code, gone.json()["code"]) == (400, 1)
    assert len(notes(world, query["sid"])) <= RATE.packets_at_once + RATE.packets_per_s * took_s + 1


async def test_a_post_within_the_budget_is_answered(world: World) -> None:
    headers = new_address()
    async with httpx.AsyncClient(base_url=world.url, timeout=DEADLINE_S) as http:
        answer = await http.get(PATH, params=POLLING, headers=headers)
        query = {**POLLING, "sid": json.loads(answer.text[1:])["sid"]}
        for count in (190, 1, 50):
            ok = await http.post(PATH, params=query, content="\x1e".join(["4note:x"] * count), headers=headers)
            assert (ok.status_code, ok.text) == (200, "ok")


# --------------------------------------------------------------------------------------------------------- addresses


async def test_the_connections_of_an_address_share_a_budget() -> None:
    address = Rate(packets_per_s=1.0, packets_at_once=100.0, bytes_per_s=1e6, bytes_at_once=1e6)
    with served(slow_world(replace(NO_BOUNDS, address=address))) as world:
        async with AsyncExitStack() as stack:
            headers = new_address()
            flooders = [await stack.enter_async_context(flooder(world, headers)) for _ in range(10)]
            other = await stack.enter_async_context(normal(world))
            for socket, _ in flooders:
                await socket.send(client_frame(1, b"4note:x") * 30)
            await until(lambda: sum(call[0] == "note" for call in world.calls) >= 100)
            await answered(other)
            assert sum(call[0] == "note" for call in world.calls) < 110
            assert len(world.engine.connections) == 11, "nobody is closed for what others send"


class Caller:
    """Opens connections over one transport."""

    def __init__(self, world: World, transport: str, stack: AsyncExitStack) -> None:
        self._world, self._transport, self._stack = world, transport, stack

    async def open(self, cookie: str | None = None, address: str = "198.51.100.1") -> tuple[int, str]:
        """Return the status and the code of a refusal, or the sid of the new connection."""
        headers = {"X-Forwarded-For": address} | ({"Cookie": cookie} if cookie else {})
        if self._transport == "polling":
            async with httpx.AsyncClient(base_url=self._world.url, timeout=DEADLINE_S) as http:
                answer = await http.get(PATH, params=POLLING, headers=headers)
            if answer.status_code == 200:
                return 200, json.loads(answer.text[1:])["sid"]
            assert answer.headers["retry-after"] == "10"
            return answer.status_code, answer.json()["code"]
        socket = await self._stack.enter_async_context(raw_websocket(self._world.port, WEBSOCKET, headers))
        if socket.status == 101:
            _, packet = await socket.frame()
            self.newest = socket
            return 200, json.loads(packet[1:])["sid"]
        assert b"\r\nretry-after: 10\r\n" in socket.head.lower()
        return socket.status, json.loads(await socket.body())["code"]

    async def close(self, sid: str) -> None:
        """Close the newest connection, which has this sid."""
        if self._transport == "polling":
            async with httpx.AsyncClient(base_url=self._world.url, timeout=DEADLINE_S) as http:
                await http.post(PATH, params={**POLLING, "sid": sid}, content="1")
        else:
            await self.newest.text("1")
        await until(lambda: self._world.engine.find(sid) is None)


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_an_address_may_open_a_limited_number_of_connections(transport: str) -> None:
    full = (429, "too_many_connections")
    bounds = replace(NO_BOUNDS, connections_per_address=3, guests_per_address=2)
    with served(slow_world(bounds)) as world:
        async with AsyncExitStack() as stack:
            caller = Caller(world, transport, stack)
            assert (await caller.open("session=anne"))[0] == 200
            assert (await caller.open())[0] == 200
            status, sid = await caller.open()
            assert status == 200
            assert await caller.open("session=bob") == full
            await caller.close(sid)
            assert (await caller.open())[0] == 200
            assert (await caller.open(address="198.51.100.2"))[0] == 200


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_an_address_may_have_fewer_guests_than_users_with_a_session(transport: str) -> None:
    full = (429, "too_many_connections")
    bounds = replace(NO_BOUNDS, connections_per_address=3, guests_per_address=1)
    with served(slow_world(bounds)) as world:
        async with AsyncExitStack() as stack:
            caller = Caller(world, transport, stack)
            status, sid = await caller.open()
            assert status == 200
            assert await caller.open() == full
            await caller.close(sid)
            assert (await caller.open())[0] == 200
            assert (await caller.open("session=anne"))[0] == 200
            assert await caller.open() == full
