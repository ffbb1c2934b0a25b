"""Engine.IO 4, rule by rule as in the protocol document, over HTTP and WebSocket against a real server."""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from gifchat_realtime_gateway.engine import link
from gifchat_realtime_gateway.engine.heartbeat import TICK_S
from gifchat_realtime_gateway.engine.polling import Polling
from gifchat_testkit.engine_worlds import (
    MAX_BYTES,
    ORIGIN,
    PING_INTERVAL_S,
    PING_TIMEOUT_S,
    World,
    engine_world,
    served,
)
from gifchat_testkit.raw_websocket import client_frame, close_payload, raw_websocket
from gifchat_testkit.waiting import until

PATH = "/socket.io/"
POLLING = {"EIO": "4", "transport": "polling"}
WEBSOCKET = f"{PATH}?EIO=4&transport=websocket"
LATE_S = TICK_S + 1.0
"""One tick, plus time for a busy machine."""
DEADLINE_S = 10.0


@pytest.fixture(scope="module")
def calm() -> Iterator[World]:
    """A server that does not ping during a test."""
    with served(engine_world(ping_interval_s=25.0, ping_timeout_s=20.0)) as world:
        yield world


@pytest.fixture(scope="module")
def quick() -> Iterator[World]:
    """A server that pings after a short interval."""
    with served(engine_world()) as world:
        yield world


class Poller:
    """A session over polling."""

    def __init__(self, http: httpx.AsyncClient, sid: str) -> None:
        self.http = http
        self.sid = sid
        self.query = {**POLLING, "sid": sid}

    async def get(self) -> httpx.Response:
        return await self.http.get(PATH, params=self.query)

    async def poll(self) -> list[str]:
        answer = await self.get()
        assert answer.status_code == 200, answer.text
        return answer.text.split("\x1e")

    async def post(self, body: str | bytes, **more: Any) -> httpx.Response:
        return await self.http.post(PATH, params=self.query, content=body, **more)

    async def say(self, *packets: str) -> None:
        answer = await self.post("\x1e".join(packets))
        assert (answer.status_code, answer.text) == (200, "ok")

    @asynccontextmanager
    async def waiting_poll(self, world: World) -> AsyncIterator[asyncio.Task[httpx.Response]]:
        """A poll that the server is holding."""
        poll = asyncio.create_task(self.get())
        connection = world.engine.find(self.sid)
        assert connection is not None
        await until(lambda: connection._poll_waiter is not None)
        yield poll
        poll.cancel()

    async def assert_gone(self) -> None:
        """Assert that the session is unknown."""
        for answer in (await self.get(), await self.post("4a")):
            assert (answer.status_code, answer.json()["code"]) == (400, 1)


@asynccontextmanager
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=world.url, timeout=DEADLINE_S, verify=False) as http:
        yield http


@asynccontextmanager
async def polling(world: World) -> AsyncIterator[Poller]:
    async with client(world) as http:
        answer = await http.get(PATH, params=POLLING)
        assert answer.status_code == 200
        yield Poller(http, json.loads(answer.text[1:])["sid"])


@asynccontextmanager
async def websocket(world: World, sid: str = "") -> AsyncIterator[ClientConnection]:
    query = WEBSOCKET + (f"&sid={sid}" if sid else "")
    async with websockets.connect(f"ws://127.0.0.1:{world.port}{query}", compression=None) as socket:
        yield socket


async def receive(socket: ClientConnection) -> str | bytes:
    async with asyncio.timeout(DEADLINE_S):
        return await socket.recv()


async def close_code(socket: ClientConnection) -> int:
    """Read until the connection is closed. Returns the close code."""
    async with asyncio.timeout(DEADLINE_S):
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                await socket.recv()
    assert socket.close_code is not None
    return socket.close_code


@asynccontextmanager
async def opened(world: World) -> AsyncIterator[tuple[ClientConnection, str]]:
    """A session over WebSocket, and its sid."""
    async with websocket(world) as socket:
        handshake = await receive(socket)
        assert isinstance(handshake, str)
        yield socket, json.loads(handshake[1:])["sid"]


@asynccontextmanager
async def upgraded(world: World) -> AsyncIterator[tuple[ClientConnection, Poller]]:
    """A session that was upgraded from polling to WebSocket."""
    async with polling(world) as poller, websocket(world, poller.sid) as socket:
        await socket.send("2probe")
        assert await receive(socket) == "3probe"
        await socket.send("5")
        yield socket, poller


def reason_of(world: World, sid: str) -> str | None:
    return next((call[2] for call in world.calls if call[:2] == ("disconnect", sid)), None)


async def disconnect_reason(world: World, sid: str) -> str:
    """Return the reason that the `disconnect` handler got."""
    await until(lambda: reason_of(world, sid) is not None)
    return reason_of(world, sid) or ""


# --------------------------------------------------------------------------------------------------------- handshake


def check_handshake(text: str, upgrades: list[str]) -> None:
    assert text[0] == "0"
    data = json.loads(text[1:])
    assert isinstance(data.pop("sid"), str)
    assert data == {"upgrades": upgrades, "pingInterval": 300, "pingTimeout": 200, "maxPayload": MAX_BYTES}


async def test_a_handshake_over_polling(quick: World) -> None:
    async with client(quick) as http:
        answer = await http.get(PATH, params=POLLING)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/plain; charset=UTF-8"
        assert answer.headers["cache-control"] == "no-store"
        check_handshake(answer.text, ["websocket"])
        assert (await http.get("/socket.io", params=POLLING)).status_code == 200


async def test_a_handshake_over_websocket(quick: World) -> None:
    async with websocket(quick) as socket:
        check_handshake(str(await receive(socket)), [])


@pytest.mark.parametrize(
    "headers", [{}, {"Connection": "keep-alive, Upgrade"}, {"Upgrade": "WebSocket"}, {"X-Name": "\xe4"}, {"A": "b\tc"}]
)
async def test_a_websocket_request_may_have_any_valid_form(quick: World, headers: dict[str, str]) -> None:
    async with raw_websocket(quick.port, WEBSOCKET, headers) as socket:
        assert socket.status == 101
        _, handshake = await socket.frame()
        check_handshake(handshake.decode(), [])


async def test_a_request_may_arrive_in_pieces(quick: World) -> None:
    request = f"GET {WEBSOCKET} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    request += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", quick.port)
    for byte in request.encode():
        writer.write(bytes((byte,)))
        await writer.drain()
    async with asyncio.timeout(DEADLINE_S):
        assert (await reader.readline()).startswith(b"HTTP/1.1 101 ")
    writer.close()


WRONG_QUERIES = [
    ("transport={}", 5),
    ("EIO=abc&transport={}", 5),
    ("EIO=3&transport={}", 5),
    ("EIO=4", 0),
    ("EIO=4&transport=abc", 0),
    ("EIO=4&transport={}&sid=unknown", 1),
    ("EIO=4&transport={}&sid=", 1),
]


@pytest.mark.parametrize(("query", "code"), WRONG_QUERIES)
async def test_a_wrong_query_is_refused(calm: World, query: str, code: int) -> None:
    async with client(calm) as http:
        answer = await http.get(f"{PATH}?{query.format('polling')}")
        assert (answer.status_code, answer.json()["code"]) == (400, code)
    async with raw_websocket(calm.port, f"{PATH}?{query.format('websocket')}") as socket:
        assert socket.status == 400
        assert json.loads(await socket.body())["code"] == code


async def test_a_query_for_the_other_transport_is_refused(calm: World) -> None:
    async with client(calm) as http:
        answer = await http.get(PATH, params={"EIO": "4", "transport": "websocket"})
        assert answer.status_code == 400
    async with raw_websocket(calm.port, f"{PATH}?EIO=4&transport=polling") as socket:
        assert socket.status == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD"])
async def test_a_handshake_must_be_a_get(calm: World, method: str) -> None:
    async with polling(calm) as poller:
        assert (await poller.http.request(method, PATH, params=POLLING)).status_code == 400
        if method != "POST":
            assert (await poller.http.request(method, PATH, params=poller.query)).status_code == 400
            await poller.say("4still there")
            assert await poller.poll() == ["4still there"]


async def test_another_websocket_version_is_refused_with_the_supported_one(calm: World) -> None:
    async with raw_websocket(calm.port, WEBSOCKET, {"Sec-WebSocket-Version": "8"}) as socket:
        assert socket.status == 426
        assert b"sec-websocket-version: 13\r\n" in socket.head


@pytest.mark.parametrize(
    "headers", [{"Sec-WebSocket-Key": None}, {"Sec-WebSocket-Key": "short"}, {"Sec-WebSocket-Version": None}]
)
async def test_an_invalid_websocket_handshake_is_refused(calm: World, headers: dict[str, str | None]) -> None:
    async with raw_websocket(calm.port, WEBSOCKET, headers) as socket:
        assert socket.status in (400, 426)


async def test_extensions_and_subprotocols_are_not_accepted(calm: World) -> None:
    offers = {"Sec-WebSocket-Extensions": "permessage-deflate", "Sec-WebSocket-Protocol": "chat"}
    async with raw_websocket(calm.port, WEBSOCKET, offers) as socket:
        assert socket.status == 101
        assert b"sec-websocket-extensions" not in socket.head.lower()
        assert b"sec-websocket-protocol" not in socket.head.lower()


# ------------------------------------------------------------------------------------------------- messages, polling


@pytest.mark.parametrize(
    "body", ["4hello", "4test1\x1e4test2\x1e4test3", "4hello\x1ebAQIDBA==", "4가\N{PILE OF POO}", "4", "b"]
)
async def test_messages_over_polling(calm: World, body: str) -> None:
    async with polling(calm) as poller:
        answer = await poller.post(body)
        assert (answer.status_code, answer.text) == (200, "ok")
        answer = await poller.get()
        assert (answer.status_code, answer.text) == (200, body)
        assert answer.headers["content-type"] == "text/plain; charset=UTF-8"


async def test_a_poll_waits_for_a_packet(calm: World) -> None:
    async with polling(calm) as poller, poller.waiting_poll(calm) as poll:
        await poller.say("4hello")
        assert (await poll).text == "4hello"


async def test_one_response_has_at_most_16_packets(calm: World) -> None:
    async with polling(calm) as poller:
        await poller.say("4many:40")
        connection = calm.engine.find(poller.sid)
        assert connection is not None
        await until(lambda: not connection.is_handling)
        polls = [await poller.poll() for _ in range(3)]
        assert [len(poll) for poll in polls] == [16, 16, 8]
        assert [packet for poll in polls for packet in poll] == [f"4{number}" for number in range(40)]


@pytest.mark.parametrize(
    "body",
    ["abc", "", "2", "2probe", "7", "4a\x1e", "\x1e4a", "4a\x1eabc", "b???", "bé", b"4\xff", b"\x00"],
)
async def test_an_invalid_packet_closes_the_session(calm: World, body: str | bytes) -> None:
    async with polling(calm) as poller, poller.waiting_poll(calm) as poll:
        assert (await poller.post(body)).status_code == 400
        answer = await poll
        assert answer.status_code == 200
        assert answer.text.split("\x1e")[-1] == "1"
        await poller.assert_gone()


async def test_a_second_poll_closes_the_session(calm: World) -> None:
    async with polling(calm) as poller, poller.waiting_poll(calm) as first:
        assert (await poller.get()).status_code == 400
        answer = await first
        assert (answer.status_code, answer.text) == (200, "1")
        await poller.assert_gone()


class Body:
    """A request body whose parts are sent when the test provides them."""

    def __init__(self) -> None:
        self.parts: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (part := await self.parts.get()) is not None:
            yield part


async def test_a_second_post_closes_the_session(calm: World) -> None:
    async with polling(calm) as poller:
        body = Body()
        body.parts.put_nowait(b"4he")
        first = asyncio.create_task(poller.http.post(PATH, params=poller.query, content=body))
        connection = calm.engine.find(poller.sid)
        assert connection is not None
        await until(lambda: connection.posting)
        assert (await poller.post("4second")).status_code == 400
        body.parts.put_nowait(b"llo")
        body.parts.put_nowait(None)
        assert (await first).status_code == 400
        await poller.assert_gone()


async def test_a_cancelled_poll_closes_the_session(calm: World) -> None:
    async with polling(calm) as poller:
        await poller.say("4note:here")
        async with poller.waiting_poll(calm) as poll:
            poll.cancel()
            assert await disconnect_reason(calm, poller.sid) == "transport close"
        await poller.assert_gone()


# ------------------------------------------------------------------------------------------------------------- sizes


async def raw_post(world: World, poller: Poller, headers: str, body: bytes, *, hang_up: bool = False) -> bytes:
    """Post with custom headers. Returns the whole response, or nothing after `hang_up`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    query = "&".join(f"{name}={value}" for name, value in poller.query.items())
    writer.write(f"POST {PATH}?{query} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n".encode() + body)
    await writer.drain()
    if hang_up:
        writer.close()
        return b""
    try:
        async with asyncio.timeout(DEADLINE_S):
            head = await reader.readuntil(b"\r\n\r\n")
            found = re.search(rb"content-length: (\d+)", head)
            return head + await reader.readexactly(int(found[1]) if found else 0)
    finally:
        writer.transport.abort()


async def test_a_payload_of_the_maximum_size_is_accepted(calm: World) -> None:
    async with polling(calm) as poller:
        largest = "4" + "x" * (MAX_BYTES - 1)
        await poller.say(largest)
        assert await poller.poll() == [largest]
        assert (await poller.post(largest + "x")).status_code == 413
        await poller.assert_gone()


async def test_the_payload_limit_counts_bytes(calm: World) -> None:
    async with polling(calm) as poller:
        assert (await poller.post("4" + "가" * (MAX_BYTES // 3 + 1))).status_code == 413
        await poller.assert_gone()


async def test_a_too_large_content_length_is_refused_without_the_body(calm: World) -> None:
    async with polling(calm) as poller:
        answer = await raw_post(calm, poller, f"Content-Length: {MAX_BYTES + 1}", b"4a")
        assert answer.startswith(b"HTTP/1.1 413 ")
        await poller.assert_gone()


async def test_a_chunked_body_is_counted_while_it_arrives(calm: World) -> None:
    chunk = b"4000\r\n" + b"4" * 0x4000 + b"\r\n"
    async with polling(calm) as poller:
        answer = await raw_post(calm, poller, "Transfer-Encoding: chunked", b"3\r\n4hi\r\n0\r\n\r\n")
        assert answer.endswith(b"\r\n\r\nok")
        assert await poller.poll() == ["4hi"]
        answer = await raw_post(calm, poller, "Transfer-Encoding: chunked", chunk * (MAX_BYTES // 0x4000 + 1))
        assert answer.startswith(b"HTTP/1.1 413 ")
        await poller.assert_gone()


async def test_a_truncated_payload_is_ignored(calm: World) -> None:
    async with polling(calm) as poller:
        await poller.say("4note:first")
        await raw_post(calm, poller, "Content-Length: 100", b"4note:second\x1e4note:th", hang_up=True)
        assert await disconnect_reason(calm, poller.sid) == "transport close"
        assert [call[2] for call in calm.calls if call[:2] == ("note", poller.sid)] == ["first"]
        await poller.assert_gone()


async def test_a_payload_ends_at_its_content_length(calm: World) -> None:
    async with polling(calm) as poller:
        answer = await raw_post(calm, poller, "Content-Length: 3", b"4hello")
        assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 "))
        assert await poller.poll() == ["4he"]


# ----------------------------------------------------------------------------------------------- messages, WebSocket


@pytest.mark.parametrize("message", ["4hello", "4", "4가\N{PILE OF POO}", b"\x01\x02\x03\x04", b"", "4" + "x" * 65_000])
async def test_messages_over_websocket(calm: World, message: str | bytes) -> None:
    async with opened(calm) as (socket, _):
        await socket.send(message)
        assert await receive(socket) == message


async def test_each_packet_has_its_own_frame(calm: World) -> None:
    async with opened(calm) as (socket, _):
        await socket.send("4many:40")
        assert [await receive(socket) for _ in range(40)] == [f"4{number}" for number in range(40)]


@pytest.mark.parametrize("text", ["abc", "", "2", "2probe", "7", "b???"])
async def test_an_invalid_packet_closes_the_websocket(calm: World, text: str) -> None:
    async with opened(calm) as (socket, sid):
        await socket.send("4note:here")
        await until(lambda: ("note", sid, "here") in calm.calls)
        await socket.send(text)
        assert await close_code(socket) == 1002
        assert await disconnect_reason(calm, sid) == "transport error"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (client_frame(1, b"4\xff"), 1007),
        (client_frame(1, b"4a", mask=None), 1002),
        (client_frame(1, b"4a", reserved=4), 1002),
        (client_frame(0, b"4a"), 1002),
        (client_frame(1, b"4a", fin=False) + client_frame(1, b"4b"), 1002),
        (client_frame(9, fin=False), 1002),
        (client_frame(11), 1002),
        (client_frame(8, close_payload(1005)), 1002),
        (client_frame(1, b"4" + b"x" * MAX_BYTES), 1009),
        (b"\x81\xff" + (1 << 62).to_bytes(8, "big"), 1009),
        (client_frame(8), 1005),
        (client_frame(8, close_payload(4321, b"why")), 4321),
    ],
)
async def test_a_websocket_violation_gets_its_close_code(calm: World, data: bytes, code: int) -> None:
    async with raw_websocket(calm.port, WEBSOCKET) as socket:
        assert socket.status == 101
        await socket.frame()
        await socket.send(data)
        assert await socket.closed() == code


async def test_a_client_that_sends_far_too_much_gets_the_close_code(calm: World) -> None:
    """If the server left data unread, the client would get a TCP reset instead of the close frame."""
    async with raw_websocket(calm.port, WEBSOCKET) as socket:
        await socket.frame()
        size = 8_000_000
        await socket.send(b"\x81\xff" + size.to_bytes(8, "big") + b"mask" + bytes(size))
        assert await socket.closed() == 1009


async def test_a_ping_between_fragments_is_answered(calm: World) -> None:
    async with raw_websocket(calm.port, WEBSOCKET) as socket:
        await socket.frame()
        character = "가".encode()
        await socket.send(client_frame(1, b"4" + character[:1], fin=False) + client_frame(9, b"there?"))
        assert await socket.frame() == (10, b"there?")
        await socket.send(client_frame(0, character[1:]))
        assert await socket.frame() == (1, "4가".encode())


async def test_frames_may_arrive_byte_by_byte(calm: World) -> None:
    async with raw_websocket(calm.port, WEBSOCKET) as socket:
        await socket.frame()
        for byte in client_frame(1, b"4hello") + client_frame(2, bytes(range(200))):
            await socket.send(bytes((byte,)))
        assert await socket.frame() == (1, b"4hello")
        assert await socket.frame() == (2, bytes(range(200)))


async def test_many_messages_keep_their_order(calm: World) -> None:
    messages = [f"4{number}" for number in range(2_000)]
    async with opened(calm) as (socket, _), polling(calm) as poller:
        sending = asyncio.create_task(send_all(socket, messages))
        assert [await receive(socket) for _ in messages] == messages
        await sending
        await poller.say(*messages)
        got: list[str] = []
        while len(got) < len(messages):
            got += await poller.poll()
        assert got == messages


async def send_all(socket: ClientConnection, messages: list[str]) -> None:
    for message in messages:
        await socket.send(message)


async def test_messages_are_handled_one_at_a_time(calm: World) -> None:
    async with opened(calm) as (socket, _), polling(calm) as poller:
        await send_all(socket, ["4later:first", "4second"])
        assert [await receive(socket), await receive(socket)] == ["4first", "4second"]
        await poller.say("4later:first", "4second")
        got = await poller.poll()
        while len(got) < 2:
            got += await poller.poll()
        assert got == ["4first", "4second"]


async def test_a_failing_handler_closes_only_its_connection(calm: World) -> None:
    async with opened(calm) as (socket, sid), opened(calm) as (other, _), polling(calm) as poller:
        await socket.send("4fail:on purpose")
        await close_code(socket)
        assert await disconnect_reason(calm, sid) == "transport error"
        async with poller.waiting_poll(calm) as poll:
            await poller.post("4fail:on purpose")
            assert (await poll).text == "1"
        await other.send("4still there")
        assert await receive(other) == "4still there"


# --------------------------------------------------------------------------------------------------------- heartbeat


async def test_polling_clients_are_pinged(quick: World) -> None:
    async with polling(quick) as poller:
        for _ in range(3):
            assert await poller.poll() == ["2"]
            await poller.say("3")


async def test_websocket_clients_are_pinged_also_after_an_upgrade(quick: World) -> None:
    async with opened(quick) as (socket, _), upgraded(quick) as (other, _):
        for _ in range(3):
            for each in (socket, other):
                assert await receive(each) == "2"
                await each.send("3")


async def test_a_polling_client_without_pongs_is_closed(quick: World) -> None:
    async with polling(quick) as poller:
        await poller.say("4note:here")
        assert await poller.poll() == ["2"]
        assert (await poller.get()).status_code == 400
        assert await disconnect_reason(quick, poller.sid) == "ping timeout"
        await poller.assert_gone()


async def test_a_client_that_stops_polling_is_closed(quick: World) -> None:
    async with polling(quick) as poller:
        await until(lambda: quick.engine.find(poller.sid) is None, PING_INTERVAL_S + PING_TIMEOUT_S + LATE_S)
        await poller.assert_gone()


async def test_a_websocket_client_without_pongs_is_closed(quick: World) -> None:
    async with opened(quick) as (socket, sid):
        await socket.send("4note:here")
        started_at_s = time.monotonic()
        await close_code(socket)
        took_s = time.monotonic() - started_at_s
        assert PING_TIMEOUT_S < took_s < PING_INTERVAL_S + PING_TIMEOUT_S + LATE_S
        assert await disconnect_reason(quick, sid) == "ping timeout"


async def test_messages_do_not_replace_pongs(quick: World) -> None:
    async with opened(quick) as (socket, _):

        async def chatter() -> None:
            while True:
                await socket.send("4a")
                await asyncio.sleep(0.05)

        chattering = asyncio.create_task(chatter())
        await close_code(socket)
        chattering.cancel()


async def test_a_dead_connection_is_closed_in_time(quick: World) -> None:
    """The client neither reads nor answers nor closes, like a machine that was switched off."""
    async with raw_websocket(quick.port, WEBSOCKET, receive_buffer=4_096) as socket:
        _, handshake = await socket.frame()
        sid = json.loads(handshake[1:])["sid"]
        await socket.text("4note:here")
        took_s = await until(lambda: quick.engine.find(sid) is None)
        assert took_s < PING_INTERVAL_S + PING_TIMEOUT_S + LATE_S
        assert await disconnect_reason(quick, sid) == "ping timeout"


# ------------------------------------------------------------------------------------------------------------- close


async def test_a_client_may_close_over_polling(calm: World) -> None:
    async with polling(calm) as poller, poller.waiting_poll(calm) as poll:
        await poller.say("4note:last", "1", "4note:late")
        answer = await poll
        assert (answer.status_code, answer.text) == (200, "6")
        assert await disconnect_reason(calm, poller.sid) == "client disconnect"
        assert [call[2] for call in calm.calls if call[:2] == ("note", poller.sid)] == ["last"]
        await poller.assert_gone()


async def test_a_client_may_close_over_websocket(calm: World) -> None:
    async with opened(calm) as (socket, sid):
        await send_all(socket, ["4note:last", "1", "4note:late"])
        assert await close_code(socket) == 1000
        assert await disconnect_reason(calm, sid) == "client disconnect"
        assert [call[2] for call in calm.calls if call[:2] == ("note", sid)] == ["last"]


async def test_messages_before_a_client_left_are_handled(calm: World) -> None:
    async with opened(calm) as (socket, sid):
        await send_all(socket, ["4later:nobody", "4note:last"])
        await socket.close()
        assert await disconnect_reason(calm, sid) == "transport close"
        told = [entry for entry in calm.calls if entry[1] == sid]
        assert told == [("connect", sid), ("note", sid, "last"), ("disconnect", sid, "transport close")]


async def test_a_close_by_the_server_fails_the_poll_and_closes_the_websocket(calm: World) -> None:
    async with polling(calm) as poller, poller.waiting_poll(calm) as poll:
        await poller.say("4close")
        # The server sends no CLOSE packet, because python-socketio clients would not reconnect after one.
        answer = await poll
        assert (answer.status_code, answer.json()["code"]) == (400, 1)
        assert await disconnect_reason(calm, poller.sid) == "server disconnect"
        await poller.assert_gone()
    async with opened(calm) as (socket, sid):
        await socket.send("4close")
        assert await close_code(socket) == 1001
        assert await disconnect_reason(calm, sid) == "server disconnect"


async def test_packets_sent_before_the_server_closes_arrive(calm: World) -> None:
    async with polling(calm) as poller:
        await poller.say("4many:3", "4close")
        await connection_ends(calm, poller.sid)
        assert await poller.poll() == ["40", "41", "42"]
        await poller.assert_gone()
    async with opened(calm) as (socket, _):
        await send_all(socket, ["4many:3", "4close"])
        assert [await receive(socket) for _ in range(3)] == ["40", "41", "42"]
        await close_code(socket)


async def connection_ends(world: World, sid: str) -> None:
    await until(lambda: sid not in world.engine.connections)


async def test_a_lost_tcp_connection_closes_the_session(calm: World) -> None:
    async with raw_websocket(calm.port, WEBSOCKET) as socket:
        _, handshake = await socket.frame()
        sid = json.loads(handshake[1:])["sid"]
        await socket.text("4note:here")
        await until(lambda: ("note", sid, "here") in calm.calls)
        socket.abort()
        assert await disconnect_reason(calm, sid) in ("transport close", "transport error")
    async with raw_websocket(calm.port, WEBSOCKET) as socket:
        _, handshake = await socket.frame()
        sid = json.loads(handshake[1:])["sid"]
        await socket.text("4note:here")
        socket.half_close()
        assert await disconnect_reason(calm, sid) == "transport close"
        await socket.ended()


async def test_handlers_are_not_called_for_a_silent_client(calm: World) -> None:
    async with opened(calm) as (_, sid):
        pass
    await connection_ends(calm, sid)
    assert not any(call[1] == sid for call in calm.calls)


# ----------------------------------------------------------------------------------------------------------- upgrade


async def test_a_session_is_upgraded(calm: World) -> None:
    async with polling(calm) as poller, websocket(calm, poller.sid) as socket:
        async with poller.waiting_poll(calm) as poll:
            await socket.send("2probe")
            assert await receive(socket) == "3probe"
            answer = await poll
            assert (answer.status_code, answer.text) == (200, "6")
        assert await poller.poll() == ["6"], "a poll during the switch returns at once"
        await socket.send("5")
        await socket.send("4hello")
        assert await receive(socket) == "4hello", "nothing precedes it"
        assert calm.engine.transport(poller.sid) == "websocket"


async def test_polling_after_an_upgrade_is_refused_and_changes_nothing(calm: World) -> None:
    async with upgraded(calm) as (socket, poller):
        await socket.send("4hello")
        assert await receive(socket) == "4hello"
        assert (await poller.get()).status_code == 400
        assert (await poller.post("4a")).status_code == 400
        await assert_closed_at_once(calm, poller.sid)
        await socket.send("4still there")
        assert await receive(socket) == "4still there"


async def assert_closed_at_once(world: World, sid: str) -> None:
    """Assert that the server accepts and then closes an unneeded WebSocket, as the published server does."""
    async with raw_websocket(world.port, f"{WEBSOCKET}&sid={sid}") as second:
        assert second.status == 101
        assert await second.closed() == 1005


async def test_a_second_websocket_during_an_upgrade_is_closed(calm: World) -> None:
    async with polling(calm) as poller, websocket(calm, poller.sid) as socket:
        await assert_closed_at_once(calm, poller.sid)
        await socket.send("2probe")
        assert await receive(socket) == "3probe"
        await assert_closed_at_once(calm, poller.sid)
        await send_all(socket, ["5", "4hello"])
        assert await receive(socket) == "4hello"


async def test_a_burst_during_an_upgrade_arrives_once_and_in_order(calm: World) -> None:
    async with polling(calm) as poller, websocket(calm, poller.sid) as socket:
        got: list[str] = []
        polls = asyncio.create_task(poll_until_noop(poller, got))
        await poller.say("4many:300")
        await socket.send("2probe")
        assert await receive(socket) == "3probe"
        await poller.say("4a")
        await polls
        await send_all(socket, ["5", "4b"])
        while got[-1:] != ["4b"]:
            got.append(str(await receive(socket)))
        assert got == [*(f"4{number}" for number in range(300)), "4a", "4b"]


async def poll_until_noop(poller: Poller, got: list[str]) -> None:
    while True:
        packets = await poller.poll()
        got += [packet for packet in packets if packet != "6"]
        if "6" in packets:
            return


@pytest.mark.parametrize("packet", ["4hello", "2", "2Probe", "5", "1", "3", "6", "abc", b"2probe"])
async def test_a_websocket_without_a_probe_is_closed_and_polling_continues(calm: World, packet: str | bytes) -> None:
    async with polling(calm) as poller, websocket(calm, poller.sid) as socket:
        await socket.send(packet)
        assert await close_code(socket) == 1002
        async with poller.waiting_poll(calm) as poll:
            await poller.say("4hello")
            assert (await poll).text == "4hello"


@pytest.mark.parametrize("probed", [False, True])
async def test_polling_continues_if_the_websocket_closes_before_the_upgrade(calm: World, probed: bool) -> None:
    async with polling(calm) as poller:
        async with websocket(calm, poller.sid) as socket:
            if probed:
                await socket.send("2probe")
                assert await receive(socket) == "3probe"
        connection = calm.engine.find(poller.sid)
        assert connection is not None
        await until(lambda: connection.state.name == "POLLING")
        async with poller.waiting_poll(calm) as poll:
            await poller.say("4hello")
            assert (await poll).text == "4hello"
        async with websocket(calm, poller.sid) as socket:
            await socket.send("2probe")
            assert await receive(socket) == "3probe"
            await send_all(socket, ["5", "4again"])
            assert await receive(socket) == "4again"


async def test_an_idle_probing_websocket_is_closed(calm: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "PROBE_TIMEOUT_S", 0.1)
    async with polling(calm) as poller, websocket(calm, poller.sid) as socket:
        assert await close_code(socket) == 1001
        await poller.say("4hello")
        assert await poller.poll() == ["4hello"]


@pytest.mark.parametrize("probed", [False, True])
async def test_a_closed_session_is_not_upgraded(calm: World, probed: bool) -> None:
    async with polling(calm) as poller, websocket(calm, poller.sid) as socket:
        if probed:
            await socket.send("2probe")
            assert await receive(socket) == "3probe"
        await poller.say("1")
        await poller.assert_gone()
        await socket.send("5" if probed else "2probe")
        assert await close_code(socket) == 1002
        assert calm.engine.find(poller.sid) is None


async def test_a_connection_without_a_namespace_is_closed() -> None:
    with served(engine_world(ping_interval_s=25.0, namespace_timeout_s=0.1)) as world:
        async with opened(world) as (silent, _), opened(world) as (speaks, _), polling(world) as poller:
            await speaks.send("4hello")
            assert await receive(speaks) == "4hello"
            assert await close_code(silent) == 1001
            await connection_ends(world, poller.sid)
            await speaks.send("4still there")
            assert await receive(speaks) == "4still there"


# -------------------------------------------------------------------------------------- origins, addresses, draining


@pytest.mark.parametrize(
    "origin", ["null", "http://evil.example", f"{ORIGIN}.evil", f"{ORIGIN}/", "HTTP://CHAT.EXAMPLE"]
)
async def test_other_origins_are_refused(calm: World, origin: str) -> None:
    async with polling(calm) as poller:
        headers = {"origin": origin}
        for answer in (
            await poller.http.get(PATH, params=POLLING, headers=headers),
            await poller.http.get(PATH, params=poller.query, headers=headers),
            await poller.post("4a", headers=headers),
            await poller.http.options(PATH, params=poller.query, headers=headers),
        ):
            assert answer.status_code == 403
            assert "access-control-allow-origin" not in answer.headers
        for query in (WEBSOCKET, f"{WEBSOCKET}&sid={poller.sid}"):
            async with raw_websocket(calm.port, query, {"Origin": origin}) as socket:
                assert socket.status == 403


async def test_pages_of_our_origin_may_read_responses(calm: World) -> None:
    headers = {"origin": ORIGIN}
    async with polling(calm) as poller:
        answers = [
            await poller.http.get(PATH, params=POLLING, headers=headers),
            await poller.post("4a", headers=headers),
            await poller.http.get(PATH, params=poller.query, headers=headers),
            await poller.http.get(PATH, params={**POLLING, "sid": "unknown"}, headers=headers),
            await poller.http.options(PATH, params=poller.query, headers=headers),
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 400, 204]
        for answer in answers:
            assert answer.headers["access-control-allow-origin"] == ORIGIN
            assert answer.headers["access-control-allow-credentials"] == "true"
            assert "Origin" in answer.headers["vary"]
        assert "POST" in answers[-1].headers["access-control-allow-methods"]
    async with raw_websocket(calm.port, WEBSOCKET, {"Origin": ORIGIN}) as socket:
        assert socket.status == 101


@pytest.mark.parametrize(
    ("forwarded_for", "address"), [("198.51.100.7", "198.51.100.7"), ("1.1.1.1, evil, 198.51.100.7", "198.51.100.7")]
)
async def test_handlers_get_the_address_that_our_proxy_saw(calm: World, forwarded_for: str, address: str) -> None:
    headers = {"x-forwarded-for": forwarded_for, "cookie": "a=b", "accept-language": "ko"}
    expected = {"REMOTE_ADDR": address, "HTTP_ACCEPT_LANGUAGE": "ko"}
    async with client(calm) as http:
        answer = await http.get(PATH, params={**POLLING, "a": "&b"}, headers=headers)
        poller = Poller(http, json.loads(answer.text[1:])["sid"])
        await poller.say("4note:here")
        await until(lambda: poller.sid in calm.environs)
        assert calm.environs[poller.sid] == expected | {"QUERY_STRING": "EIO=4&transport=polling&a=%26b"}
    async with raw_websocket(calm.port, WEBSOCKET, dict(headers)) as socket:
        _, handshake = await socket.frame()
        sid = json.loads(handshake[1:])["sid"]
        await socket.text("4note:here")
        await until(lambda: sid in calm.environs)
        assert calm.environs[sid] == expected | {"QUERY_STRING": "EIO=4&transport=websocket"}


async def test_a_draining_node_refuses_only_new_sessions(calm: World) -> None:
    async with polling(calm) as poller, opened(calm) as (socket, _):
        calm.draining = True
        try:
            answer = await poller.http.get(PATH, params=POLLING)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            async with raw_websocket(calm.port, WEBSOCKET) as refused:
                assert refused.status == 503
                assert b"retry-after: 1\r\n" in refused.head
            await poller.say("4hello")
            assert await poller.poll() == ["4hello"]
            await socket.send("4hello")
            assert await receive(socket) == "4hello"
        finally:
            calm.draining = False


async def test_other_paths_are_not_served_by_the_engine(calm: World) -> None:
    assert isinstance(calm.engine.polling, Polling)
    async with client(calm) as http:
        assert (await http.get("/other", params=POLLING)).status_code == 404
    async with raw_websocket(calm.port, "/other") as socket:
        assert socket.status in (403, 404)
    async with raw_websocket(calm.port, WEBSOCKET, method="POST") as socket:
        assert socket.status == 400


# --------------------------------------------------------------------------------------------------------- cleanup


async def test_closed_sessions_leave_no_tasks_or_connections(calm: World, quick: World) -> None:
    for world in (calm, quick):
        await until(lambda world=world: not [each for each in world.engine.connections.values() if each.link])  # type: ignore[misc]
        await until(lambda world=world: not world.engine._tasks)  # type: ignore[misc]
    await until(lambda: not quick.engine.connections)
