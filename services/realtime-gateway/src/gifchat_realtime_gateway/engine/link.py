"""The WebSocket side: an asyncio protocol that connections are handed to with their request, here or by uvicorn.

The write rule: frames are written to the socket at once, as long as the transport holds nothing back. What the kernel
does not take goes to the transport, and then everything does until it is empty: a direct write would overtake. The
101 response goes the same way, because uvloop sends what it is given only at the end of its turn.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import structlog

from gifchat_realtime_gateway.engine import protocol
from gifchat_realtime_gateway.engine.connection import CloseReason, Connection, State
from gifchat_realtime_gateway.engine.handshake import Accepted, Elsewhere, Handshake, Refusal, Request, read_request
from gifchat_realtime_gateway.engine.protocol import Action, InvalidPacketError, Via, action_of
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

if TYPE_CHECKING:
    from uvicorn.server import ServerState

MAX_BUFFER_BYTES = 1024 * 1024
"""What may wait for a reader, beside what the kernel holds; above, it is a slow consumer."""
PROBE_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
"""How long a closing WebSocket may take to say goodbye and to read what is left."""

_log = structlog.get_logger(__name__)


class WebSocketLink(asyncio.Protocol):
    """One WebSocket. `connection` is None until the handshake, while it probes, and after the end."""

    __slots__ = (
        "_closing",
        "_connections",
        "_fallback",
        "_fd",
        "_handshake",
        "_held_back",
        "_inner",
        "_parser",
        "_paused",
        "_probing",
        "_timer",
        "_transport",
        "connection",
        "deflates",
    )

    def __init__(
        self, handshake: Handshake, server_state: "ServerState", fallback: Callable[[], asyncio.Protocol]
    ) -> None:
        """`handshake` decides over requests; `fallback` makes the protocol for paths that are not the engine's."""
        self.connection: Connection | None = None
        self._handshake = handshake
        self._connections: set[Any] = server_state.connections
        self._fallback: Callable[[], asyncio.Protocol] | None = fallback
        self._inner: asyncio.Protocol | None = None
        self._probing: Connection | None = None
        self._parser: Parser | None = None
        self._transport: asyncio.Transport | None = None
        self._fd = -1
        self._held_back = False
        self._closing = False
        self._paused = False
        self.deflates = False
        """See `connection.Link`."""
        self._timer: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The TCP connection is there."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """First the request, whole, then frames."""
        if self._parser is not None:
            self._receive(self._parser, data)
        elif self._inner is not None:
            self._inner.data_received(data)
        else:
            self._open(read_request(data))

    def eof_received(self) -> bool:
        """Half closed is closed."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The TCP connection is gone, and its file descriptor may become another's."""
        if self._inner is not None:
            self._inner.connection_lost(exc)
            return
        self._fd = -1
        self._connections.discard(self)
        self._cancel_timer()
        connection, self.connection = self.connection, None
        probing, self._probing = self._probing, None
        self._transport = None
        if probing is not None:
            probing.probe_failed()
        if connection is not None:
            connection.fd = -1
            connection.close(CloseReason.TRANSPORT_CLOSE if exc is None else CloseReason.TRANSPORT_ERROR)

    def pause_writing(self) -> None:
        """The transport holds something back."""
        self._hold_back()

    def resume_writing(self) -> None:
        """It has sent everything."""
        self._let_through()

    def shutdown(self) -> None:
        """Uvicorn stops, and the node was drained: whoever is left has come in between."""
        if self.connection is not None:
            self.connection.close(CloseReason.SERVER)
        else:
            self.close(CloseCode.GOING_AWAY)

    # -------------------------------------------------------------------------------------------- connection.Link

    def write(self, data: bytes) -> None:
        """See `connection.Link`."""
        if not self._closing:
            self._write(data)

    def _write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._held_back or self._fd < 0:
            self._transport.write(data)
            waiting = self._transport.get_write_buffer_size()
            if waiting > MAX_BUFFER_BYTES and not self._closing:
                self._give_up()
            elif waiting == 0:
                self._let_through()
            return
        try:
            sent = os.write(self._fd, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._transport.abort()
            return
        if sent < len(data):
            self._hold_back()
            self._transport.write(data[sent:] if sent else data)

    def write_rest(self, data: bytes) -> None:
        """See `connection.Link`."""
        if self._transport is not None and not self._closing and not self._transport.is_closing():
            self._hold_back()
            self._transport.write(data)

    def direct_fd(self) -> int:
        """See `connection.Link`."""
        return -1 if self._held_back or self._closing else self._fd

    def close(self, code: int, reason: str = "") -> None:
        """See `connection.Link`."""
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
        """See `connection.Link`."""
        self._paused = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """See `connection.Link`."""
        self._paused = False
        self._go_on()

    def _go_on(self) -> None:
        """Receive what was read already, and then what comes."""
        if self._transport is None or self._transport.is_closing() or self._paused:
            return
        if self._parser is not None and self._parser.behind:
            asyncio.get_running_loop().call_soon(self._catch_up, self._parser)
        else:
            self._transport.resume_reading()

    def _catch_up(self, parser: Parser) -> None:
        if self._transport is not None and parser.behind and not self._paused:
            self._receive(parser, b"")
            if not parser.behind:
                self._go_on()

    # ------------------------------------------------------------------------------------------------- handshake

    def _open(self, request: Request) -> None:
        transport, fallback = self._transport, self._fallback
        self._fallback = None
        if transport is None or fallback is None:
            return
        if not self._handshake.concerns(request):
            inner = fallback()
            self._hand_over(inner, transport)
            inner.data_received(request.raw)
            return
        peer = transport.get_extra_info("peername")
        match self._handshake.decide(request, peer):
            case Refusal() as refusal:
                transport.write(refusal.response())
                transport.close()
            case Elsewhere(tag):
                self._hand_over(self._handshake.carry(tag, request, peer), transport)
            case Accepted() as accepted:
                self._connections.add(self)
                self._accept(accepted, transport)

    def _hand_over(self, inner: asyncio.Protocol, transport: asyncio.Transport) -> None:
        """Let `inner` serve the TCP connection from now on."""
        self._inner = inner
        inner.connection_made(transport)
        # uvicorn makes this object the transport's protocol after this call.
        asyncio.get_running_loop().call_soon(transport.set_protocol, inner)

    def _accept(self, accepted: Accepted, transport: asyncio.Transport) -> None:
        raw: socket.socket | None = transport.get_extra_info("socket")
        if raw is not None and transport.get_extra_info("sslcontext") is None:
            self._fd = raw.fileno()
            transport.set_write_buffer_limits(high=0)
        # An earlier response may still be buffered; a direct write would overtake it.
        self._held_back = transport.get_write_buffer_size() > 0
        self.deflates = accepted.deflates
        self._parser = Parser(self._handshake.max_bytes, deflates=accepted.deflates)
        self.write(accepted.response)
        if accepted.upgrades is None:
            self.connection = accepted.open(self)
            return
        if accepted.upgrades.state is not State.POLLING:
            # Another WebSocket has upgraded, or the session is closed. The published server answers the same way.
            self.close(CloseCode.NO_STATUS)
            return
        self._probing = accepted.upgrades
        self._probing.probe()
        self._timer = asyncio.get_running_loop().call_later(PROBE_TIMEOUT_S, self.close, CloseCode.GOING_AWAY)

    # --------------------------------------------------------------------------------------------------- frames

    def _receive(self, parser: Parser, data: bytes) -> None:
        for event in parser.feed(data):
            self._handle(event)
        if parser.behind and self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
            self._go_on()

    def _handle(self, event: Event) -> None:
        match event:
            case Message(data):
                self._receive_message(data)
            case Ping(payload):
                self.write(frame(Opcode.PONG, payload))
            case Closing(code):
                self._end(code, CloseReason.TRANSPORT_CLOSE)
                if self._transport is not None:
                    self._transport.close()
            case Failed(code, why):
                _log.debug("websocket_rules_broken", why=why)
                self._stop(code)

    def _receive_message(self, data: str | bytes) -> None:
        if self._closing:
            return
        try:
            if self._probing is not None:
                self._receive_probing(self._probing, data)
            elif self.connection is not None:
                packet = protocol.parse_packet(data) if isinstance(data, str) else protocol.binary_message(data)
                self.connection.receive(action_of(Via.WEBSOCKET, packet), packet.data)
        except InvalidPacketError as error:
            _log.debug("invalid_packet", why=str(error))
            self._stop(CloseCode.PROTOCOL_ERROR)

    def _receive_probing(self, connection: Connection, data: str | bytes) -> None:
        if not isinstance(data, str):
            raise InvalidPacketError("a probe is text")
        if action_of(Via.PROBING, protocol.parse_packet(data)) is Action.ANSWER_PROBE:
            connection.probed()
            self.write(text_frame(protocol.PROBE_ANSWER.encode()))
            return
        if connection.state is not State.SWITCHING:
            raise InvalidPacketError(f"an upgrade while {connection.state.name}")
        self._probing = None
        self._cancel_timer()
        self.connection = connection
        connection.upgrade(self)

    def _stop(self, code: int) -> None:
        """The client broke the rules: say so, and say no more.

        What it still sends is read and thrown away: with something unread, the kernel would reset the connection, and
        the client would not see why.
        """
        self._end(code, CloseReason.TRANSPORT_ERROR)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def _end(self, code: int, reason: str) -> None:
        """Tell the connection, and answer."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.link = None
            connection.close(reason)
        self.close(code)

    # ---------------------------------------------------------------------------------------------------- writing

    def _hold_back(self) -> None:
        self._held_back = True
        if self.connection is not None:
            self.connection.fd = -1

    def _let_through(self) -> None:
        self._held_back = False
        if self.connection is not None and not self._closing:
            self.connection.fd = self._fd

    def _give_up(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.link = None
            connection.close(CloseReason.SLOW_CONSUMER)
        self.close(CloseCode.SLOW_CONSUMER, "slow_consumer")

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
