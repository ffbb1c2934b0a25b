"""The server for third-party test suites behaves as they expect: like the published server."""

import asyncio
import contextlib
import json
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from gifchat_cli.ports import free_port
from gifchat_cli.servers.readiness import NotReadyError
from gifchat_realtime_gateway.engine.pipelining import MAX_EARLY_BYTES
from gifchat_testkit.engine_worlds import engine_world, served
from gifchat_testkit.protocol_suite import NAMESPACES
from gifchat_testkit.raw_websocket import RawWebSocket, client_frame, raw_websocket
from gifchat_testkit.servers import running

PING_INTERVAL_S, PING_TIMEOUT_S, MAX_PAYLOAD = 0.3, 0.2, 1_000_000
ORIGIN, OTHER_ORIGIN = "https://suite.example", "https://other.example"
DEADLINE_S = 10.0
PUNCTUAL_S = 0.05
WEBSOCKET_HEADERS = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


@dataclass(frozen=True, slots=True)
class Harness:
    """A running server."""

    port: int
    path: str
    log_file: Path

    @property
    def polling(self) -> str:
        """The target of a polling request."""
        return f"{self.path}?EIO=4&transport=polling"

    @property
    def websocket(self) -> str:
        """The target of a WebSocket request."""
        return f"{self.path}?EIO=4&transport=websocket"


@contextlib.contextmanager
def harness(protocol: str, work_dir: Path) -> Iterator[Harness]:
    port = free_port()
    arguments = {
        "--port": port,
        "--ping-interval-ms": PING_INTERVAL_S * 1000,
        "--ping-timeout-ms": PING_TIMEOUT_S * 1000,
        "--max-payload-bytes": MAX_PAYLOAD,
    }
    command = [sys.executable, "-m", "gifchat_testkit.protocol_suite", protocol]
    command += [str(word) for argument in arguments.items() for word in argument]
    command += ["--allowed-origin", ORIGIN, "--allowed-origin", OTHER_ORIGIN]

    def wait_until_ready() -> None:
        ends_at_s = time.monotonic() + DEADLINE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except ConnectionRefusedError as error:
                if time.monotonic() > ends_at_s:
                    raise NotReadyError("the harness does not listen") from error
                time.sleep(0.01)
            else:
                return

    with running(protocol, command, work_dir, wait_until_ready):
        yield Harness(port, f"/{protocol}/", work_dir / f"{protocol}.log")


@pytest.fixture(scope="module")
def engine_io(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with harness("engine.io", tmp_path_factory.mktemp("harness")) as running_one:
        yield running_one


@pytest.fixture(scope="module")
def socket_io(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with harness("socket.io", tmp_path_factory.mktemp("harness")) as running_one:
        yield running_one


@asynccontextmanager
async def http(where: Harness) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{where.port}", timeout=DEADLINE_S, verify=False) as client:
        yield client


async def open_session(where: Harness, client: httpx.AsyncClient) -> str:
    """Open a session over polling. Returns the target of its requests."""
    answer = await client.get(where.polling)
    return f"{where.polling}&sid={json.loads(answer.text[1:])['sid']}"


async def next_message(websocket: RawWebSocket) -> tuple[int, bytes]:
    """Answer pings and return the next other frame."""
    while (frame := await websocket.frame()) == (1, b"2"):
        await websocket.text("3")
    return frame


# ----------------------------------------------------------------------------------------------------------- harness


@pytest.mark.parametrize("protocol", ["engine_io", "socket_io"])
async def test_the_open_packet_has_the_given_arguments(protocol: str, request: pytest.FixtureRequest) -> None:
    where: Harness = request.getfixturevalue(protocol)
    async with http(where) as client:
        handshake = json.loads((await client.get(where.polling)).text[1:])
    assert handshake.keys() == {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}
    assert (handshake["pingInterval"], handshake["pingTimeout"], handshake["maxPayload"]) == (300, 200, MAX_PAYLOAD)


async def test_the_engine_io_server_echoes_messages(engine_io: Harness) -> None:
    async with http(engine_io) as client:
        session = await open_session(engine_io, client)
        assert (await client.post(session, content="4hello\x1ebAQIDBA==")).text == "ok"
        assert (await client.get(session)).text == "4hello\x1ebAQIDBA=="


@pytest.mark.parametrize("name", NAMESPACES)
async def test_the_socket_io_server_has_the_events_of_the_official_suite(socket_io: Harness, name: str) -> None:
    namespace = "" if name == "/" else f"{name},"
    async with raw_websocket(socket_io.port, socket_io.websocket) as websocket:
        await websocket.frame()
        await websocket.text(f'40{namespace}{{"token":"123"}}')
        _, answer = await next_message(websocket)
        assert answer.startswith(f'40{namespace}{{"sid":"'.encode())
        assert await next_message(websocket) == (1, f'42{namespace}["auth",{{"token":"123"}}]'.encode())
        await websocket.text(f'42{namespace}["message",1,"2",{{"3":[true]}}]')
        assert await next_message(websocket) == (1, f'42{namespace}["message-back",1,"2",{{"3":[true]}}]'.encode())
        await websocket.text(f'42{namespace}456["message-with-ack",1,"2"]')
        assert await next_message(websocket) == (1, f'43{namespace}456[1,"2"]'.encode())


# ----------------------------------------------------------------------------------------------------------- packets


@pytest.mark.parametrize("packet", ["0", "5", "6", "5probe"])
async def test_open_upgrade_and_noop_are_ignored(engine_io: Harness, packet: str) -> None:
    async with raw_websocket(engine_io.port, engine_io.websocket) as websocket:
        await websocket.frame()
        await websocket.text(packet)
        await websocket.text("4hello")
        assert await next_message(websocket) == (1, b"4hello")
    async with http(engine_io) as client:
        session = await open_session(engine_io, client)
        assert (await client.post(session, content=f"{packet}\x1e4hello")).text == "ok"
        assert (await client.get(session)).text == "4hello"


@pytest.mark.parametrize("packet", ["b/+8BAg==", "b/+8BAg", "b_-8BAg"])
async def test_a_base64_text_message_is_a_binary_message(engine_io: Harness, packet: str) -> None:
    async with raw_websocket(engine_io.port, engine_io.websocket) as websocket:
        await websocket.frame()
        await websocket.text(packet)
        assert await next_message(websocket) == (2, b"\xff\xef\x01\x02")
    async with http(engine_io) as client:
        session = await open_session(engine_io, client)
        await client.post(session, content=packet)
        assert (await client.get(session)).text == "b/+8BAg=="


async def test_a_client_without_binary_frames_gets_base64(engine_io: Harness) -> None:
    async with raw_websocket(engine_io.port, f"{engine_io.websocket}&b64=1") as websocket:
        await websocket.frame()
        await websocket.send(client_frame(2, b"\xff\xef\x01\x02"))
        assert await next_message(websocket) == (1, b"b/+8BAg==")


async def test_an_invalid_engine_io_packet_closes_the_session_immediately(engine_io: Harness) -> None:
    async with http(engine_io) as client:
        session = await open_session(engine_io, client)
        assert (await client.post(session, content="abc")).status_code == 400
        assert (await client.get(session)).status_code == 400


async def test_after_an_invalid_socket_io_packet_the_next_poll_gets_close(socket_io: Harness) -> None:
    async with http(socket_io) as client:
        session = await open_session(socket_io, client)
        assert (await client.post(session, content="4abc")).status_code == 200
        answer = await client.get(session)
        assert (answer.status_code, answer.text) == (200, "1")
        assert (await client.get(session)).status_code == 400


async def test_ping_timeouts_are_on_time(engine_io: Harness) -> None:
    async def lifetime_s() -> float:
        async with raw_websocket(engine_io.port, engine_io.websocket) as websocket:
            started_at_s = time.monotonic()
            await websocket.closed()
            return time.monotonic() - started_at_s

    lifetimes_s = []
    for _ in range(5):
        lifetimes_s.append(await lifetime_s())
        await asyncio.sleep(0.03)
    assert min(lifetimes_s) > PING_INTERVAL_S + PING_TIMEOUT_S - PUNCTUAL_S
    # A busy machine may delay some of the closes.
    assert statistics.median(lifetimes_s) < PING_INTERVAL_S + PING_TIMEOUT_S + PUNCTUAL_S


# ------------------------------------------------------------------------------------------------------------- paths


@pytest.mark.parametrize("path", ["/socket.io", "/socket.io/", "/socket.io/x", "/socket.io/x/y", "/socket.io//"])
async def test_the_engine_serves_every_path_below_its_own(socket_io: Harness, path: str) -> None:
    async with raw_websocket(socket_io.port, f"{path}?EIO=4&transport=websocket") as websocket:
        assert websocket.status == 101
        assert (await websocket.frame())[1].startswith(b'0{"sid":')
    async with raw_websocket(socket_io.port, path) as websocket:
        assert websocket.status == 400


async def test_other_paths_are_refused_without_a_log_line(socket_io: Harness) -> None:
    before = socket_io.log_file.read_text()
    for path in ("/", "/socket.iox/", "/socket.io%00/", "/%"):
        async with raw_websocket(socket_io.port, f"{path}?EIO=4&transport=websocket") as websocket:
            assert websocket.status in (400, 403, 404)
    assert socket_io.log_file.read_text() == before


async def test_a_second_websocket_is_accepted_and_closed(engine_io: Harness) -> None:
    async with http(engine_io) as client:
        session = (await open_session(engine_io, client)).replace("polling", "websocket")
        async with raw_websocket(engine_io.port, session) as first:
            async with raw_websocket(engine_io.port, session) as second:
                assert (second.status, await second.closed()) == (101, 1005)
            await first.text("2probe")
            assert await first.frame() == (1, b"3probe")
            await first.text("5")
            await first.text("4hello")
            assert await next_message(first) == (1, b"4hello")
            async with raw_websocket(engine_io.port, session) as third:
                assert (third.status, await third.closed()) == (101, 1005)
            await first.text("4still there")
            assert await next_message(first) == (1, b"4still there")


# ----------------------------------------------------------------------------------------------------------- origins


@pytest.mark.parametrize("origin", [ORIGIN, OTHER_ORIGIN])
async def test_a_preflight_allows_the_requested_headers(engine_io: Harness, origin: str) -> None:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-requested-with",
    }
    async with http(engine_io) as client:
        answer = await client.options(engine_io.polling, headers=headers)
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["access-control-allow-headers"] == "content-type,x-requested-with"
        assert answer.headers["vary"] == "Access-Control-Request-Headers, Origin"
        answer = await client.options(engine_io.polling, headers={**headers, "Origin": "https://evil.example"})
        assert answer.status_code == 403
        assert "access-control-allow-headers" not in answer.headers


@pytest.mark.parametrize("origins", [(ORIGIN, ORIGIN), (ORIGIN, "https://evil.example"), (ORIGIN, OTHER_ORIGIN)])
async def test_two_origins_are_refused(engine_io: Harness, origins: tuple[str, str]) -> None:
    async with http(engine_io) as client:
        for pair in (origins, origins[::-1]):
            answer = await client.get(engine_io.polling, headers=[("Origin", origin) for origin in pair])
            assert answer.status_code == 403
    both = {"Origin": origins[0], "origin": origins[1]}
    async with raw_websocket(engine_io.port, engine_io.websocket, both) as websocket:
        assert websocket.status == 403


# -------------------------------------------------------------------------------------------------------- pipelining


@asynccontextmanager
async def pipelined(where: Harness, *targets: str, upgrade: str) -> AsyncIterator[RawWebSocket]:
    """Request `targets` and then a WebSocket in one write. The yielded `head` is that of the first response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", where.port)
    try:
        host = f"Host: 127.0.0.1:{where.port}\r\n"
        requests = [f"GET {target} HTTP/1.1\r\n{host}\r\n" for target in targets]
        writer.write("".join([*requests, f"GET {upgrade} HTTP/1.1\r\n{host}{WEBSOCKET_HEADERS}\r\n"]).encode())
        async with asyncio.timeout(DEADLINE_S):
            head = await reader.readuntil(b"\r\n\r\n")
        yield RawWebSocket(reader, writer, head)
    finally:
        writer.transport.abort()


async def body_and_next_head(websocket: RawWebSocket) -> tuple[bytes, bytes]:
    """Return the body of the first response, and the head of the second one."""
    length = next(line for line in websocket.head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    body = await websocket.exactly(int(length.partition(b":")[2]))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await websocket.exactly(1)
    return body, head


async def test_a_poll_is_answered_before_a_pipelined_upgrade(engine_io: Harness) -> None:
    async with http(engine_io) as client:
        session = await open_session(engine_io, client)
        upgrade = session.replace("polling", "websocket")
        async with pipelined(engine_io, session, upgrade=upgrade) as websocket:
            assert websocket.status == 200
            body, head = await body_and_next_head(websocket)
            assert body == b"2", "the poll waited for the ping"
            assert head.startswith(b"HTTP/1.1 101 ")
            await websocket.text("3")
            assert await websocket.frame() == (8, (1002).to_bytes(2, "big")), "a probe must come first"


async def test_all_requests_are_answered_before_a_pipelined_upgrade(engine_io: Harness) -> None:
    targets = ("/nowhere", engine_io.polling)
    async with pipelined(engine_io, *targets, upgrade=engine_io.websocket) as websocket:
        assert websocket.status == 404
        _, head = await body_and_next_head(websocket)
        assert head.startswith(b"HTTP/1.1 200 ")
        handshake, head = await body_and_next_head(RawWebSocket(websocket._reader, websocket._writer, head))
        assert handshake.startswith(b'0{"sid":')
        assert head.startswith(b"HTTP/1.1 101 ")
        await websocket.frame()
        await websocket.text("4hello")
        assert await next_message(websocket) == (1, b"4hello")


@pytest.fixture(scope="module")
def calm() -> Iterator[Harness]:
    """A server that does not ping during a test: a poll waits until something is posted."""
    with served(engine_world(ping_interval_s=25.0, ping_timeout_s=20.0)) as world:
        yield Harness(world.port, "/socket.io/", Path())


class WaitingUpgrade:
    """A WebSocket request pipelined behind a waiting poll. The server has read both."""

    def __init__(
        self, client: httpx.AsyncClient, session: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader = reader
        self.writer = writer
        self._client = client
        self._session = session

    async def post(self, packet: str) -> None:
        """Post a packet to the session whose poll is waiting."""
        assert (await self._client.post(self._session, content=packet)).text == "ok"


@asynccontextmanager
async def waiting_upgrade(where: Harness, more: str = "") -> AsyncIterator[WaitingUpgrade]:
    """Start a poll and pipeline an upgrade behind it. `more` is added to the query of the upgrade."""
    async with http(where) as client:
        session = await open_session(where, client)
        reader, writer = await asyncio.open_connection("127.0.0.1", where.port)
        waiting = WaitingUpgrade(client, session, reader, writer)
        try:
            host = f"Host: 127.0.0.1:{where.port}\r\n"
            upgrade = f"GET {where.websocket}{more} HTTP/1.1\r\n{host}{WEBSOCKET_HEADERS}\r\n"
            writer.write(f"GET {session} HTTP/1.1\r\n{host}\r\n{upgrade}".encode())
            await writer.drain()
            # The server has a single event loop, so once it answers this later request, it has read the earlier ones.
            await waiting.post("6")
            async with asyncio.timeout(DEADLINE_S):
                yield waiting
        finally:
            writer.transport.abort()


async def test_early_data_is_buffered_until_the_upgrade(calm: Harness) -> None:
    async with waiting_upgrade(calm) as waiting:
        waiting.writer.write(client_frame(1, b"4early"))
        await waiting.post("4polled")
        head = await waiting.reader.readuntil(b"\r\n\r\n")
        websocket = RawWebSocket(waiting.reader, waiting.writer, head)
        assert (await body_and_next_head(websocket))[0] == b"4polled"
        await websocket.frame()
        assert await next_message(websocket) == (1, b"4early")


async def test_too_much_early_data_closes_the_connection(calm: Harness) -> None:
    async with waiting_upgrade(calm) as waiting:
        waiting.writer.write(bytes(2 * MAX_EARLY_BYTES))
        with contextlib.suppress(ConnectionError):
            assert await waiting.reader.read() == b""


async def test_early_data_is_dropped_if_the_upgrade_is_refused(calm: Harness, caplog: pytest.LogCaptureFixture) -> None:
    async with waiting_upgrade(calm, more="&sid=unknown") as waiting:
        waiting.writer.write(client_frame(1, b"4early"))
        await waiting.post("4polled")
        answers = await waiting.reader.read()
        assert b"4polled" in answers
        assert answers.endswith(b'{"code": 1, "message": "Session ID unknown"}')
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
