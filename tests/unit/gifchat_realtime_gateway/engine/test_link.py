"""The write rule on real sockets: order is kept, nothing is lost, and no client waits for a slow reader."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.protocol import CLIENT, Protocol, State

from gifchat_realtime_gateway.engine import link as link_module
from gifchat_realtime_gateway.engine.connection import CloseReason, Connection
from gifchat_realtime_gateway.engine.deflate import deflate
from gifchat_realtime_gateway.engine.fan_out import FlushScheduler, Group
from gifchat_realtime_gateway.engine.intake import CLIENT_RATE, PACKETS_PER_TURN
from gifchat_realtime_gateway.engine.link import MAX_BUFFER_BYTES, WebSocketLink
from gifchat_realtime_gateway.engine.options import EngineOptions
from gifchat_realtime_gateway.engine.server import EngineServer
from gifchat_realtime_gateway.engine.websocket import Parser
from gifchat_testkit.engine_worlds import ORIGIN
from gifchat_testkit.raw_websocket import client_frame, close_payload
from gifchat_testkit.waiting import until

KERNEL_BYTES = 16 * 1024
REQUEST = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: x\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Peer:
    """The client's end. The test decides when and how much it reads."""

    def __init__(self, end: socket.socket, connection: Connection, link: WebSocketLink) -> None:
        self.end = end
        self.connection = connection
        self.link = link
        self.eof = False
        self._frames = Protocol(CLIENT, state=State.OPEN)
        self._head: bytes | None = b""
        self.messages: list[str | bytes] = []
        self.close_code: int | None = None

    def read(self, size: int = 1 << 20) -> int:
        """Read what the kernel has received. Returns the number of bytes."""
        try:
            data = self.end.recv(size)
        except BlockingIOError:
            return 0
        except ConnectionResetError:
            data = b""
        self.eof = not data
        read = len(data)
        if self._head is not None:
            self._head += data
            head, separator, data = self._head.partition(b"\r\n\r\n")
            if not separator:
                return read
            assert head.startswith(b"HTTP/1.1 101 ")
            self._head = None
        if data:
            self._frames.receive_data(data)
        for frame in self._frames.events_received():
            assert isinstance(frame, Frame)
            if frame.opcode in (1, 2):
                self.messages.append(bytes(frame.data).decode() if frame.opcode == 1 else bytes(frame.data))
            elif frame.opcode == 8:
                self.close_code = int.from_bytes(frame.data[:2], "big")
            else:
                self.messages.append(f"{frame.opcode.name} {bytes(frame.data).decode()}")
        assert self._frames.parser_exc is None, "every frame must be valid"
        return read

    async def read_until(self, condition: Callable[[], bool]) -> None:
        def reads() -> bool:
            self.read()
            return condition()

        await until(reads)

    def abort(self) -> None:
        """Close the server's end: while it does not read, it would not notice a disconnect."""
        assert self.link._transport is not None
        self.link._transport.abort()

    def packets(self) -> list[str | bytes]:
        """Return the packets after the handshake."""
        assert isinstance(self.messages[0], str)
        assert self.messages[0].startswith("0{")
        return self.messages[1:]


class Node:
    """An engine whose links use socket pairs."""

    def __init__(self) -> None:
        self.ends: list[str] = []
        self.received: list[str | bytes] = []
        self.state = SimpleNamespace(connections=set())
        self.engine = EngineServer(
            options=EngineOptions(
                allowed_origins=[ORIGIN],
                trusted_proxies="",
                ping_interval_s=25.0,
                ping_timeout_s=20.0,
                max_bytes=65_536,
                draining=lambda: False,
            )
        )

        async def connect(_sid: str, _environ: dict[str, Any]) -> None:
            """Accept every connection."""

        async def message(_sid: str, data: str | bytes) -> None:
            self.received.append(data)

        async def disconnect(_sid: str, reason: str) -> None:
            self.ends.append(reason)

        for event, handler in (("connect", connect), ("message", message), ("disconnect", disconnect)):
            self.engine.on(event, handler)
        self._open = ExitStack()

    async def connect(self) -> Peer:
        here, there = socket.socketpair()
        self._open.enter_context(there)
        here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES // 2)
        there.setblocking(False)
        link = self.engine.websocket_protocol(None, self.state, {})
        assert isinstance(link, WebSocketLink)
        known = set(self.engine.connections)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: link, here)
        link.data_received(REQUEST)
        (sid,) = self.engine.connections.keys() - known
        return Peer(there, self.engine.connections[sid], link)

    async def close(self) -> None:
        self._open.close()
        await until(lambda: not self.state.connections)
        await self.engine.wait_for_disconnects()


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    node = Node()
    yield node
    await node.close()


@pytest.fixture
def short_close_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "CLOSE_TIMEOUT_S", 0.1)


# ----------------------------------------------------------------------------------------------------------- writing


async def test_a_frame_is_written_immediately(node: Node) -> None:
    peer = await node.connect()
    peer.connection.send("4a")
    peer.connection.send(b"b")
    peer.read()
    assert peer.packets() == ["4a", b"b"]
    assert peer.connection.fd >= 0


async def test_direct_writes_never_overtake_buffered_data(node: Node) -> None:
    peer = await node.connect()
    group = Group(FlushScheduler())
    group.add(peer.connection)
    sent = []
    for number in range(400):
        packet = f"4{number:05}" + "x" * 1_000
        sent.append(packet)
        if number % 3:
            group.send(packet.encode())
            await asyncio.sleep(0)
        else:
            peer.connection.send(packet)
    assert peer.connection.fd == -1, "more than the kernel accepts"
    await peer.read_until(lambda: len(peer.messages) > len(sent))
    assert peer.packets() == sent
    await until(lambda: peer.connection.fd >= 0)
    peer.connection.send("4now")
    peer.read()
    assert peer.packets()[-1] == "4now"


write_steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["send", "group", "ping"]), st.sampled_from([1, 100, 5_000, 40_000])),
        st.tuples(st.just("read"), st.sampled_from([1, 1_000, 100_000])),
        st.tuples(st.just("turn"), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(write_steps)
def test_with_any_reader_the_stream_is_complete_and_in_order(steps: list[tuple[str, int]]) -> None:
    async def run() -> None:
        node = Node()
        peer, other = await node.connect(), await node.connect()
        group = Group(FlushScheduler())
        group.add(peer.connection)
        group.add(other.connection)
        to_peer: list[str] = []
        to_group: list[str] = []
        for number, (step, size) in enumerate(steps):
            packet = f"4{number}:" + "x" * size
            match step:
                case "send":
                    # Let the turn end, because packets already sent to the group are written then.
                    await asyncio.sleep(0)
                    peer.connection.send(packet)
                    to_peer.append(packet)
                case "group":
                    group.send(packet.encode())
                    to_peer.append(packet)
                    to_group.append(packet)
                case "ping":
                    await asyncio.sleep(0)
                    peer.link.data_received(client_frame(9, str(number).encode()))
                    to_peer.append(f"PONG {number}")
                case "read":
                    peer.read(size)
                case "turn":
                    await asyncio.sleep(0)
        await peer.read_until(lambda: len(peer.messages) > len(to_peer))
        await other.read_until(lambda: len(other.messages) > len(to_group))
        assert (peer.packets(), other.packets()) == (to_peer, to_group)
        await node.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


# -------------------------------------------------------------------------------------------------------------- slow


async def test_a_slow_reader_is_closed_with_4008_and_delays_no_other_client(node: Node) -> None:
    slow, fast = await node.connect(), await node.connect()
    node.engine.connections[slow.connection.sid].session = {}
    group = Group(FlushScheduler())
    group.add(slow.connection)
    group.add(fast.connection)
    packet = "4" + "x" * 50_000
    sent = 0
    while not slow.connection.closed:
        group.send(packet.encode())
        sent += 1
        await asyncio.sleep(0)
        fast.read()
        assert sent * len(packet) < MAX_BUFFER_BYTES + 10 * len(packet)
    assert sent * len(packet) > MAX_BUFFER_BYTES
    for _ in range(5):
        group.send(packet.encode())
        sent += 1
        await asyncio.sleep(0)
    await fast.read_until(lambda: len(fast.messages) > sent)
    assert fast.packets() == [packet] * sent
    assert not fast.connection.closed
    await slow.read_until(lambda: slow.close_code is not None)
    assert slow.close_code == 4008
    assert set(slow.packets()) == {packet}
    await node.engine.wait_for_disconnects()
    assert node.ends == [CloseReason.SLOW_CONSUMER]


@pytest.mark.usefixtures("short_close_timeout")
async def test_a_slow_reader_that_never_reads_is_disconnected(node: Node) -> None:
    slow = await node.connect()
    while not slow.connection.closed:
        slow.connection.send("4" + "x" * 60_000)
    await until(lambda: not node.state.connections)
    await slow.read_until(lambda: slow.eof)


async def test_one_huge_batch_alone_does_not_close_a_connection(node: Node) -> None:
    peer = await node.connect()
    group = Group(FlushScheduler())
    group.add(peer.connection)
    for _ in range(20):
        group.send(b"4" + b"x" * 100_000)
    await asyncio.sleep(0)
    assert not peer.connection.closed
    peer.connection.send("4one more")
    assert peer.connection.closed


# --------------------------------------------------------------------------------------------------------------- end


@pytest.mark.parametrize("how", ["with an empty buffer", "with buffered data"])
async def test_a_reader_that_disconnects_is_closed_once(node: Node, how: str) -> None:
    peer, other = await node.connect(), await node.connect()
    group = Group(FlushScheduler())
    for each in (peer, other):
        each.connection.session = {}
        group.add(each.connection)
    if how == "with buffered data":
        while peer.connection.fd >= 0:
            group.send(b"4" + b"x" * 10_000)
            await asyncio.sleep(0)
            other.read()
    peer.end.close()
    for _ in range(10):
        group.send(b"4a")
        peer.connection.send("4b")
        await asyncio.sleep(0)
    await until(lambda: peer.connection.closed)
    await until(lambda: len(node.ends) == 1)
    assert peer.connection.fd == -1
    assert node.ends[0] in (CloseReason.TRANSPORT_CLOSE, CloseReason.TRANSPORT_ERROR)
    assert not other.connection.closed


async def test_a_file_descriptor_is_forgotten_before_it_is_reused(node: Node) -> None:
    group = Group(FlushScheduler())
    peers = []
    for _ in range(20):
        peer = await node.connect()
        group.add(peer.connection)
        peers.append(peer)
    gone = random.Random(1).sample(peers, 10)
    for peer in gone:
        peer.end.close()
    await until(lambda: all(peer.connection.closed for peer in gone))
    stranger = await node.connect()
    group.send(b"4secret")
    await asyncio.sleep(0)
    stranger.read()
    assert stranger.packets() == []


@pytest.mark.parametrize(("code", "answer"), [(1000, 1000), (1001, 1001), (3000, 3000), (4999, 4999), (None, 0)])
async def test_a_close_is_answered_with_its_code(node: Node, code: int | None, answer: int) -> None:
    peer = await node.connect()
    peer.end.send(client_frame(8, close_payload(code) if code else b""))
    await peer.read_until(lambda: peer.eof)
    assert peer.close_code == answer
    assert peer.connection.closed


async def test_the_clients_close_frame_ends_our_close(node: Node) -> None:
    peer = await node.connect()
    peer.connection.close(CloseReason.SERVER)
    await peer.read_until(lambda: peer.close_code is not None)
    assert peer.close_code == 1001
    peer.end.send(client_frame(1, b"4late") + client_frame(9, b"late") + client_frame(8, close_payload(1001)))
    await peer.read_until(lambda: peer.eof)
    assert node.received == []
    assert peer.packets() == []


@pytest.mark.usefixtures("short_close_timeout")
async def test_an_unanswered_close_ends_after_the_timeout(node: Node) -> None:
    peer = await node.connect()
    peer.connection.close(CloseReason.SERVER)
    await peer.read_until(lambda: peer.eof)


@pytest.mark.usefixtures("short_close_timeout")
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (client_frame(1, b"\xff"), 1007),
        (client_frame(1, b"4a", mask=None), 1002),
        (client_frame(3), 1002),
        (b"\x82\xff" + (1 << 30).to_bytes(8, "big"), 1009),
        (client_frame(1, b"abc"), 1002),
    ],
)
async def test_a_client_that_breaks_a_rule_gets_the_close_code_while_it_still_sends(
    node: Node, data: bytes, code: int
) -> None:
    peer = await node.connect()
    peer.end.send(data + b"\0" * 3_000)
    await peer.read_until(lambda: peer.close_code is not None)
    assert peer.close_code == code
    for _ in range(100):
        try:
            peer.end.send(b"\0" * 1_000)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            break
        await asyncio.sleep(0)
    await peer.read_until(lambda: peer.eof)


async def test_messages_before_a_close_frame_are_handled(node: Node) -> None:
    peer = await node.connect()
    peer.end.send(client_frame(1, b"4a") + client_frame(1, b"4b") + client_frame(8) + client_frame(1, b"4c"))
    await until(lambda: node.ends == [CloseReason.TRANSPORT_CLOSE])
    assert node.received == ["a", "b"]


async def test_when_uvicorn_stops_every_websocket_is_closed(node: Node) -> None:
    peer = await node.connect()
    for each in list(node.state.connections):
        each.shutdown()
    await peer.read_until(lambda: peer.eof)
    assert peer.close_code == 1001


# ------------------------------------------------------------------------------------------------------------ budget


async def test_tiny_frames_are_parsed_in_turns_and_only_as_many_as_the_client_may_send(node: Node) -> None:
    peer = await node.connect()
    frame = client_frame(1, b"4a")
    peer.link.data_received(frame * 20_000)
    assert len(peer.connection._inbox or ()) == PACKETS_PER_TURN
    at_once = int(CLIENT_RATE.packets_at_once)
    await until(lambda: len(node.received) >= at_once)
    assert peer.link._transport is not None
    assert not peer.link._transport.is_reading()
    peer.abort()


@pytest.mark.parametrize("opcode", [0, 1, 9, 10])
async def test_frames_of_every_kind_are_charged(node: Node, opcode: int) -> None:
    peer = await node.connect()
    first = client_frame(1, fin=False) if opcode == 0 else b""
    peer.link.data_received(first + client_frame(opcode, b"3", fin=opcode != 0) * 1_000)
    now_s = asyncio.get_running_loop().time()
    left = peer.connection.intake.packets_left(now_s)
    assert left == pytest.approx(CLIENT_RATE.packets_at_once - PACKETS_PER_TURN, abs=1)
    await until(lambda: peer.connection.intake.delay_s(asyncio.get_running_loop().time()) > 0)
    peer.abort()


async def test_bytes_are_charged_before_a_frame_is_complete(node: Node) -> None:
    peer = await node.connect()
    peer.link.data_received(client_frame(1, b"4" + b"a" * 60_000)[:-1])
    intake = peer.connection.intake
    assert not intake.is_full(asyncio.get_running_loop().time())
    assert node.received == []


async def test_decompressed_bytes_are_charged(node: Node) -> None:
    peer = await node.connect()
    peer.link._parser = Parser(65_536, deflates=True)
    payload = deflate(b"4" + b"a" * 60_000)
    for _ in range(10):
        peer.link.data_received(client_frame(1, payload, reserved=4))
    assert peer.connection.intake.delay_s(asyncio.get_running_loop().time()) > 0
    peer.abort()
