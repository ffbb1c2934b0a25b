"""One Engine.IO connection: over polling, over a WebSocket, or upgrading from polling to a WebSocket.

An idle connection has no task. Received messages wait in an inbox; one task handles them in order and ends when the
inbox is empty.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Sequence
from enum import Enum, auto
from typing import Any, Protocol

from gifchat_realtime_gateway.engine import protocol
from gifchat_realtime_gateway.engine.intake import PACKETS_PER_TURN, Intake
from gifchat_realtime_gateway.engine.protocol import Action
from gifchat_realtime_gateway.engine.websocket import CloseCode, Opcode, frame, text_frame
from gifchat_realtime_gateway.engine.write_loop import Sink

MAX_POLLED_PACKETS = 16
"""Limit of packets in one polling response. python-engineio clients refuse more."""
MAX_OUTBOX_BYTES = 1024 * 1024
"""Limit of data that waits for a polling client; text counts in characters. Above this it is a slow consumer."""
MAX_INBOX_MESSAGES = 32
"""Messages that may wait in the inbox. Above this the gateway pauses the WebSocket, or delays the POST's response."""
MAX_THROTTLE_S = 1.0
"""A throttled client is checked at least this often, so that it is disconnected in time if it keeps overspending."""


class CloseReason:
    """Why a connection ended. `disconnect` handlers receive it."""

    CLIENT = "client disconnect"
    SERVER = "server disconnect"
    PING_TIMEOUT = "ping timeout"
    TRANSPORT_CLOSE = "transport close"
    TRANSPORT_ERROR = "transport error"
    SLOW_CONSUMER = "slow consumer"
    RATE_LIMITED = "rate limited"
    SESSION_REVOKED = "session revoked"


_PING = (protocol.PING_PACKET.encode(),)
_PING_FRAME = text_frame(*_PING)
_CLIENT_LEFT = (CloseReason.CLIENT, CloseReason.TRANSPORT_CLOSE)
"""The client ended the connection, so the messages in its inbox are still handled."""
_SHOULD_RECONNECT = (
    CloseReason.SERVER,
    CloseReason.PING_TIMEOUT,
    CloseReason.SLOW_CONSUMER,
    CloseReason.RATE_LIMITED,
)
"""The client should reconnect, so its poll fails. After a CLOSE packet python-socketio clients never reconnect."""


class State(Enum):
    """Which transport carries packets to the client (protocol section "Upgrade"), or whether the connection has ended.

    POLLING → PROBING → SWITCHING → WEBSOCKET; a failed probe returns to POLLING. A connection can end in any of them.
    """

    POLLING = auto()
    PROBING = auto()
    """Polling. A WebSocket is open and may take over."""
    SWITCHING = auto()
    """Polling, but polls return at once: the server has answered the WebSocket's probe."""
    WEBSOCKET = auto()
    LINGERING = auto()
    """Closed by the server. Packets are left for the client's next poll."""
    CLOSED = auto()


_ENDED = (State.LINGERING, State.CLOSED)


class OverlappingPollError(Exception):
    """A second poll arrived while the first one is still waiting."""


class ConnectionClosedError(Exception):
    """The connection is closed and no packet is left to poll."""


class Link(Protocol):
    """The WebSocket of a connection."""

    deflates: bool
    """Whether the client accepts compressed messages."""

    def write(self, data: bytes) -> None:
        """Write whole frames, in order. Never blocks."""

    def write_remainder(self, data: bytes) -> None:
        """Write the part of a direct write (see `direct_fd`) that the kernel did not accept."""

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame and close the WebSocket. The connection gets no further calls."""

    def pause_reading(self) -> None:
        """Stop reading until `resume_reading`."""

    def resume_reading(self) -> None:
        """Resume reading."""

    def direct_fd(self) -> int:
        """Return the file descriptor for direct writes; -1 while direct writes are not allowed."""


class Owner(Protocol):
    """The server that a connection belongs to."""

    def handle_message(self, connection: "Connection", data: str | bytes) -> Awaitable[None]:
        """Handle a message from the client. An exception closes the connection."""

    def pong_received(self, connection: "Connection") -> None:
        """Called when the client answers a ping."""

    def connection_closed(self, connection: "Connection", reason: str) -> None:
        """Called once, when the connection closes."""


class Connection(Sink):
    """One connection. The write loop reads its `fd`."""

    __slots__ = (
        "_inbox",
        "_inbox_task",
        "_outbox",
        "_outbox_bytes",
        "_owner",
        "_poll_waiter",
        "awaits_pong",
        "base64",
        "deflates",
        "environ",
        "has_namespace",
        "heartbeat_generation",
        "intake",
        "last_relayed_poll",
        "link",
        "posting",
        "session",
        "session_id",
        "sid",
        "state",
    )

    def __init__(
        self, sid: str, owner: Owner, environ: dict[str, Any], intake: Intake, link: Link | None = None
    ) -> None:
        """`environ` describes the request for `connect` handlers. With `link`, the connection starts as a WebSocket."""
        self.sid = sid
        self.environ = environ
        self.intake = intake
        """What the client may still send, over any transport."""
        self.link = link
        """The WebSocket; None while polling and after the end."""
        self.fd = link.direct_fd() if link else -1
        self.deflates = link is not None and link.deflates
        self.state = State.WEBSOCKET if link else State.POLLING
        self.heartbeat_generation = 0
        self.has_namespace = False
        """Whether the client has opened a Socket.IO namespace. The server closes connections that never do."""
        self.awaits_pong = False
        """Whether a ping is unanswered."""
        self.base64 = False
        """Whether the client cannot receive binary frames (`b64=1`), so binary messages are sent as base64 text."""
        self.posting = False
        """Whether a POST is in progress."""
        self.last_relayed_poll: str | None = None
        """The query parameter `t` of the last poll if another node relayed it."""
        self.session: dict[str, Any] | None = None
        """What `socketio.AsyncServer.save_session` stores; None until the `connect` handler is called."""
        self.session_id: str | None = None
        """Id of the user's session in the request that opened the connection. Later requests must carry it."""
        self._owner = owner
        self._outbox: deque[str | bytes] | None = None
        self._outbox_bytes = 0
        self._poll_waiter: asyncio.Future[None] | None = None
        self._inbox: deque[str | bytes] | None = None
        self._inbox_task: asyncio.Task[None] | None = None

    @property
    def closed(self) -> bool:
        """Whether the connection has ended, with or without packets left to poll."""
        return self.state in _ENDED

    @property
    def has_unpolled_packets(self) -> bool:
        """Whether the outbox holds more packets than the waiting poll will take."""
        waiting = len(self._outbox) if self._outbox else 0
        return waiting > (0 if self._poll_waiter is None else MAX_POLLED_PACKETS)

    @property
    def is_handling(self) -> bool:
        return self._inbox_task is not None

    # ----------------------------------------------------------------------------------------------------- sending

    def send(self, packet: str | bytes) -> None:
        """Send one packet: the text of a packet, or the bytes of a binary message. Never blocks."""
        if self.base64 and isinstance(packet, bytes):
            packet = protocol.base64_packet(packet)
        if self.link is not None:
            self.link.write(text_frame(packet.encode()) if isinstance(packet, str) else frame(Opcode.BINARY, packet))
        elif self.state not in _ENDED:
            self._enqueue(packet)

    def send_frame(self, data: bytes, packets: Sequence[bytes]) -> None:
        """Write the frames `data`. A polling client gets `packets` instead, which have the same content in UTF-8."""
        if self.link is not None:
            self.link.write(data)
        elif self.state not in _ENDED:
            for packet in packets:
                self._enqueue(packet.decode())

    def ping(self) -> None:
        """Send a ping (protocol section "Heartbeat")."""
        self.awaits_pong = True
        self.send_frame(_PING_FRAME, _PING)

    def pong_missed(self) -> None:
        """Close the connection, because the client did not answer a ping in time."""
        self.close(CloseReason.PING_TIMEOUT)

    def _enqueue(self, packet: str | bytes) -> None:
        if self._outbox is None:
            self._outbox = deque()
        self._outbox.append(packet)
        self._outbox_bytes += len(packet)
        if self._outbox_bytes > MAX_OUTBOX_BYTES:
            self.close(CloseReason.SLOW_CONSUMER)
        else:
            self._wake_poll()

    # ---------------------------------------------------------------------------------------------------- polling

    async def poll(self) -> list[str | bytes]:
        """Return the waiting packets, at most `MAX_POLLED_PACKETS`. Waits until there is at least one.

        If a WebSocket takes over and no packet is left, the result is one NOOP packet.

        Raises:
            OverlappingPollError: another poll is waiting.
            ConnectionClosedError: the connection is closed, and no packet is left.
        """
        if self._poll_waiter is not None:
            raise OverlappingPollError
        if not self._outbox and self.state in (State.POLLING, State.PROBING):
            self._poll_waiter = asyncio.get_running_loop().create_future()
            try:
                await self._poll_waiter
            finally:
                self._poll_waiter = None
        if not self._outbox and self.state is State.CLOSED:
            raise ConnectionClosedError
        if not self._outbox or self.state is State.WEBSOCKET:
            return [protocol.NOOP_PACKET]
        packets = [self._outbox.popleft() for _ in range(min(len(self._outbox), MAX_POLLED_PACKETS))]
        self._outbox_bytes -= sum(map(len, packets))
        if not self._outbox and self.state is State.LINGERING:
            self.state = State.CLOSED
        return packets

    def _wake_poll(self) -> None:
        if self._poll_waiter is not None and not self._poll_waiter.done():
            self._poll_waiter.set_result(None)

    # --------------------------------------------------------------------------------------------------- upgrading

    def start_probe(self) -> None:
        """Record that a WebSocket wants to take over. The caller allows only one at a time."""
        self.state = State.PROBING

    def probe_answered(self) -> None:
        """Answer the waiting poll, so that the client can send UPGRADE over the WebSocket.

        Raises:
            InvalidPacketError: the connection is not probing.
        """
        if self.state is not State.PROBING:
            raise protocol.InvalidPacketError(f"probe while {self.state.name}")
        self.state = State.SWITCHING
        self._wake_poll()

    def probe_failed(self) -> None:
        """Continue polling, because the WebSocket closed before it took over."""
        if self.state in (State.PROBING, State.SWITCHING):
            self.state = State.POLLING

    def upgrade(self, link: Link) -> None:
        """Switch to the WebSocket. Packets that wait for a poll are written to it first."""
        waiting, self._outbox, self._outbox_bytes = self._outbox, None, 0
        self.link = link
        self.deflates = link.deflates
        self.state = State.WEBSOCKET
        self._wake_poll()
        for packet in waiting or ():
            self.send(packet)
        self.fd = link.direct_fd()

    # --------------------------------------------------------------------------------------------------- receiving

    def receive(self, action: Action, data: str | bytes) -> None:
        """Process one packet from the client. Packets after the end are ignored.

        Raises:
            InvalidPacketError: the packet belongs to an upgrade, which only the link handles.
        """
        if self.state in _ENDED:
            return
        match action:
            case Action.MESSAGE:
                self._receive_message(data)
            case Action.PONG:
                if self.awaits_pong:
                    self.awaits_pong = False
                    self._owner.pong_received(self)
            case Action.CLOSE:
                self.close(CloseReason.CLIENT, CloseCode.NORMAL)
            case Action.IGNORE:
                pass
            case Action.ANSWER_PROBE | Action.UPGRADE:
                raise protocol.InvalidPacketError("only the link handles an upgrade")

    async def wait_for_inbox_space(self) -> None:
        """If the inbox holds more than `MAX_INBOX_MESSAGES`, wait until it is empty."""
        while self._inbox and len(self._inbox) > MAX_INBOX_MESSAGES and self._inbox_task is not None:
            await asyncio.wait({self._inbox_task})

    async def wait_until_idle(self) -> None:
        """Wait until the inbox is empty and no message is being handled."""
        if self._inbox_task is not None:
            await asyncio.wait({self._inbox_task})

    def _receive_message(self, data: str | bytes) -> None:
        if self._inbox is None:
            self._inbox = deque()
        self._inbox.append(data)
        if self._inbox_task is None:
            self._inbox_task = asyncio.create_task(self._handle_inbox(self._inbox))
        elif len(self._inbox) > MAX_INBOX_MESSAGES and self.link is not None:
            self.link.pause_reading()

    async def throttle(self, delay_s: float) -> bool:
        """Wait `delay_s`, but at most `MAX_THROTTLE_S`. If the client keeps overspending, close and return False."""
        if self.intake.overspends(asyncio.get_running_loop().time()):
            self.close(CloseReason.RATE_LIMITED, CloseCode.RATE_LIMITED)
            return False
        await asyncio.sleep(min(delay_s, MAX_THROTTLE_S))
        return True

    async def _handle_inbox(self, inbox: deque[str | bytes]) -> None:
        handled = 0
        try:
            while inbox:
                if self.intake.in_debt(now_s := asyncio.get_running_loop().time()):
                    await self.throttle(self.intake.delay_s(now_s))
                    continue
                await self._owner.handle_message(self, inbox.popleft())
                if len(inbox) == MAX_INBOX_MESSAGES and self.link is not None:
                    self.link.resume_reading()
                handled += 1
                if handled % PACKETS_PER_TURN == 0:
                    # Handlers that never wait would block the other connections.
                    await asyncio.sleep(0)
        finally:
            self._inbox_task = None
            self._inbox = None

    # ----------------------------------------------------------------------------------------------------- closing

    def close(self, reason: str, code: int = CloseCode.GOING_AWAY) -> None:
        """Close the connection; a no-op if it is closed. `reason` is a `CloseReason`, `code` is for a WebSocket."""
        if self._inbox and reason not in _CLIENT_LEFT:
            self._inbox.clear()
        if self.state in _ENDED:
            return
        previous, self.state = self.state, State.CLOSED
        self.fd = -1
        self.heartbeat_generation += 1
        link, self.link = self.link, None
        if link is not None:
            link.close(code, "rate_limited" if code == CloseCode.RATE_LIMITED else "")
        if previous is not State.WEBSOCKET:
            if self._outbox is None or reason in (CloseReason.SLOW_CONSUMER, CloseReason.RATE_LIMITED):
                self._outbox = deque()
            if reason not in _SHOULD_RECONNECT:
                self._outbox.append(protocol.NOOP_PACKET if reason == CloseReason.CLIENT else protocol.CLOSE_PACKET)
            self._wake_poll()
        self._owner.connection_closed(self, reason)

    def linger(self) -> None:
        """Keep a closed connection's packets for the client's next poll."""
        self.state = State.LINGERING
