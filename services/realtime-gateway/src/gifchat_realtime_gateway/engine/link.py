"""The WebSocket transport: an asyncio protocol that takes over a TCP connection and its HTTP request.

`FirstRequest` or uvicorn hands the connection over.

The write rule: while the transport's buffer is empty, frames are written directly to the socket. What the kernel does
not accept goes to the transport. Later frames do too until the buffer is empty, because a direct write would
overtake buffered data. The 101 response follows the same rule, because uvloop sends buffered data only at the end of
the loop's turn.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any, cast

import structlog

from gifchat_realtime_gateway.engine import protocol
from gifchat_realtime_gateway.engine.connection import MAX_THROTTLE_S, CloseReason, Connection, State
from gifchat_realtime_gateway.engine.handshake import Accepted, Handshake, OtherNode, Refusal, Request, parse_request
from gifchat_realtime_gateway.engine.intake import Intake
from gifchat_realtime_gateway.engine.protocol import Action, InvalidPacketError, Source, action_of
from gifchat_realtime_gateway.engine.websocket import (
    CloseCode,
    Closing,
    Event,
    Failed,
    Message,
    Opcode,
    Parser,
    Ping,
    close_frame,
    frame,
    text_frame,
)

MAX_BUFFER_BYTES = 1024 * 1024
"""Bytes that may wait in the transport, besides the kernel's buffer. Above this the client is a slow consumer."""
PROBE_TIMEOUT_S = 10.0
"""How long a client may take to send UPGRADE over a new WebSocket."""
CLOSE_TIMEOUT_S = 2.0
"""How long the closing handshake may take, including the rest of the buffered data."""

_log = structlog.get_logger(__name__)


class WebSocketLink(asyncio.Protocol):
    """One WebSocket. `connection` is None before the handshake, while probing, and after the end."""

    __slots__ = (
        "_buffering",
        "_closing",
        "_delegate",
        "_fd",
        "_handshake",
        "_intake",
        "_make_fallback",
        "_parser",
        "_probing",
        "_reading_paused",
        "_server_connections",
        "_throttle_timer",
        "_timer",
        "_transport",
        "connection",
        "deflates",
    )

    def __init__(
        self, handshake: Handshake, server_connections: set[Any], fallback: Callable[[], asyncio.Protocol]
    ) -> None:
        """`server_connections`: uvicorn's set. `fallback` creates the protocol for paths that are not the engine's."""
        self.connection: Connection | None = None
        self._handshake = handshake
        self._server_connections = server_connections
        self._make_fallback: Callable[[], asyncio.Protocol] | None = fallback
        self._delegate: asyncio.Protocol | None = None
        self._probing: Connection | None = None
        self._parser: Parser | None = None
        self._intake: Intake | None = None
        self._transport: asyncio.Transport | None = None
        self._fd = -1
        self._buffering = False
        self._closing = False
        self._reading_paused = False
        self.deflates = False
        self._timer: asyncio.TimerHandle | None = None
        self._throttle_timer: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Process the whole request in the first call, and frames in later calls."""
        if self._parser is not None and self._intake is not None:
            self._receive(self._parser, self._intake, data)
        elif self._delegate is not None:
            self._delegate.data_received(data)
        else:
            self._handle_request(parse_request(data))

    def eof_received(self) -> bool:
        """Close the transport: WebSockets have no half-closed state."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the file descriptor, because the kernel may reuse its number, and close the connection."""
        if self._delegate is not None:
            self._delegate.connection_lost(exc)
            return
        self._fd = -1
        self._server_connections.discard(self)
        self._cancel_timer()
        if self._throttle_timer is not None:
            self._throttle_timer.cancel()
        connection, self.connection = self.connection, None
        probing, self._probing = self._probing, None
        self._transport = None
        if probing is not None:
            probing.probe_failed()
        if connection is not None:
            connection.fd = -1
            connection.close(CloseReason.TRANSPORT_CLOSE if exc is None else CloseReason.TRANSPORT_ERROR)

    def pause_writing(self) -> None:
        """Stop direct writes, because the transport has buffered data."""
        self._buffering = True
        if self.connection is not None:
            self.connection.fd = -1

    def resume_writing(self) -> None:
        """Allow direct writes again, because the transport's buffer is empty."""
        self._buffering = False
        if self.connection is not None and not self._closing:
            self.connection.fd = self._fd

    def shutdown(self) -> None:
        """Close the WebSocket, because uvicorn is stopping. After a drain, few connections are left."""
        if self.connection is not None:
            self.connection.close(CloseReason.SERVER)
        else:
            self.close(CloseCode.GOING_AWAY)

    # -------------------------------------------------------------------------------------------- connection.Link

    def write(self, data: bytes) -> None:
        if not self._closing:
            self._write(data)

    def _write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._buffering or self._fd < 0:
            self._transport.write(data)
            buffered = self._transport.get_write_buffer_size()
            if buffered > MAX_BUFFER_BYTES and not self._closing:
                self._end_connection(CloseCode.SLOW_CONSUMER, CloseReason.SLOW_CONSUMER, "slow_consumer")
            elif buffered == 0:
                self.resume_writing()
            return
        try:
            sent = os.write(self._fd, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._transport.abort()
            return
        if sent < len(data):
            self.pause_writing()
            self._transport.write(data[sent:] if sent else data)

    def write_remainder(self, data: bytes) -> None:
        if self._transport is not None and not self._closing and not self._transport.is_closing():
            self.pause_writing()
            self._transport.write(data)

    def direct_fd(self) -> int:
        return -1 if self._buffering or self._closing else self._fd

    def close(self, code: int, reason: str = "") -> None:
        if self._transport is None or self._closing:
            return
        self._closing = True
        self.connection = None
        probing, self._probing = self._probing, None
        if probing is not None:
            probing.probe_failed()
        self._write(close_frame(code, reason))
        self._cancel_timer()
        self._timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._transport.abort)

    def pause_reading(self) -> None:
        self._reading_paused = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._reading_paused = False
        self._continue_reading()

    def _continue_reading(self) -> None:
        """Parse the backlog, and then read from the socket again. If the client sent too much, wait first."""
        if self._transport is None or self._transport.is_closing() or self._reading_paused:
            return
        if self._parser is None or self._intake is None or self._throttle_timer is not None:
            return
        delay_s = self._intake.delay_s(now_s := asyncio.get_running_loop().time())
        if delay_s > 0 and not self._parser.closed:
            if self._intake.overspends(now_s):
                self._end_overspender()
                return
            loop = asyncio.get_running_loop()
            self._throttle_timer = loop.call_later(min(delay_s, MAX_THROTTLE_S), self._end_throttle)
        elif self._parser.has_backlog:
            asyncio.get_running_loop().call_soon(self._parse_backlog, self._parser, self._intake)
        else:
            self._transport.resume_reading()

    def _end_throttle(self) -> None:
        self._throttle_timer = None
        self._continue_reading()

    def _parse_backlog(self, parser: Parser, intake: Intake) -> None:
        if self._transport is not None and parser.has_backlog and not self._reading_paused:
            self._receive(parser, intake, b"")
            if not parser.has_backlog:
                self._continue_reading()

    # ------------------------------------------------------------------------------------------------- handshake

    def _handle_request(self, request: Request) -> None:
        transport, fallback = self._transport, self._make_fallback
        self._make_fallback = None
        if transport is None or fallback is None:
            return
        if not self._handshake.serves(request):
            delegate = fallback()
            self._delegate_to(delegate, transport)
            delegate.data_received(request.raw)
            return
        peer = transport.get_extra_info("peername")
        match self._handshake.decide(request, peer):
            case Refusal() as refusal:
                transport.write(refusal.response())
                transport.close()
            case OtherNode(tag):
                self._delegate_to(self._handshake.relay_websocket(tag, request, peer), transport)
            case Accepted() as accepted:
                self._server_connections.add(self)
                self._accept(accepted, transport)

    def _delegate_to(self, delegate: asyncio.Protocol, transport: asyncio.Transport) -> None:
        """Let `delegate` serve the TCP connection from now on."""
        self._delegate = delegate
        delegate.connection_made(transport)
        # uvicorn makes this object the transport's protocol after this call.
        asyncio.get_running_loop().call_soon(transport.set_protocol, delegate)

    def _accept(self, accepted: Accepted, transport: asyncio.Transport) -> None:
        raw: socket.socket | None = transport.get_extra_info("socket")
        if raw is not None and transport.get_extra_info("sslcontext") is None:
            self._fd = raw.fileno()
            transport.set_write_buffer_limits(high=0)
        # A response to an earlier request may still be buffered, and a direct write would overtake it.
        self._buffering = transport.get_write_buffer_size() > 0
        self.deflates = accepted.deflates
        self._parser = Parser(self._handshake.options.max_bytes, deflates=accepted.deflates)
        self.write(accepted.response)
        if accepted.upgrades is None:
            self.connection = accepted.open(self)
            self._intake = self.connection.intake
            return
        self._intake = accepted.upgrades.intake
        if accepted.upgrades.state is not State.POLLING:
            # Another WebSocket took over or is about to, or the session is closed. The published server does the same.
            self.close(CloseCode.NO_STATUS)
            return
        self._probing = accepted.upgrades
        self._probing.start_probe()
        self._timer = asyncio.get_running_loop().call_later(PROBE_TIMEOUT_S, self.close, CloseCode.GOING_AWAY)

    # --------------------------------------------------------------------------------------------------- frames

    def _receive(self, parser: Parser, intake: Intake, data: bytes) -> None:
        if parser.closed:
            return
        now_s = asyncio.get_running_loop().time()
        for event in parser.feed(data, intake.admit(len(data), now_s)):
            self._handle(event)
        intake.spend(parser.frames, parser.inflated_bytes, now_s)
        must_wait = parser.has_backlog or (intake.delay_s(now_s) > 0 and not parser.closed)
        if must_wait and self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
            self._continue_reading()

    def _handle(self, event: Event) -> None:
        match event:
            case Message(data):
                self._receive_message(data)
            case Ping(payload):
                self.write(frame(Opcode.PONG, payload))
            case Closing(code):
                self._end_connection(code, CloseReason.TRANSPORT_CLOSE)
                if self._transport is not None:
                    self._transport.close()
            case Failed(code, why):
                _log.debug("websocket_failed", why=why)
                self._fail(code)

    def _receive_message(self, data: str | bytes) -> None:
        if self._closing:
            return
        try:
            if self._probing is not None:
                self._receive_probing(self._probing, data)
            elif self.connection is not None:
                packet = protocol.parse_packet(data) if isinstance(data, str) else protocol.binary_message(data)
                self.connection.receive(action_of(Source.WEBSOCKET, packet), packet.data)
        except InvalidPacketError as error:
            _log.debug("invalid_packet", why=str(error))
            self._fail(CloseCode.PROTOCOL_ERROR)

    def _receive_probing(self, connection: Connection, data: str | bytes) -> None:
        if not isinstance(data, str):
            raise InvalidPacketError("a probe must be text")
        if action_of(Source.PROBING, protocol.parse_packet(data)) is Action.ANSWER_PROBE:
            connection.probe_answered()
            self.write(text_frame(protocol.PROBE_ANSWER.encode()))
            return
        if connection.state is not State.SWITCHING:
            raise InvalidPacketError(f"UPGRADE while {connection.state.name}")
        self._probing = None
        self._cancel_timer()
        self.connection = connection
        connection.upgrade(self)

    def _fail(self, code: int) -> None:
        """Fail the WebSocket with this close code (RFC 6455, section 7.1.7), because the client broke a rule.

        Further data is read and discarded. If it stayed unread, the kernel would reset the TCP connection, and the
        client might never see the close frame.
        """
        self._end_connection(code, CloseReason.TRANSPORT_ERROR)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def _end_overspender(self) -> None:
        """Close the WebSocket of a client that keeps sending too much. Nothing more is read."""
        if self._closing and self._transport is not None:
            self._transport.abort()
        else:
            self._end_connection(CloseCode.RATE_LIMITED, CloseReason.RATE_LIMITED, "rate_limited")

    def _end_connection(self, code: int, reason: str, text: str = "") -> None:
        """Close the connection, and the WebSocket with a close frame that has this code and text."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.link = None
            connection.close(reason)
        self.close(code, text)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
