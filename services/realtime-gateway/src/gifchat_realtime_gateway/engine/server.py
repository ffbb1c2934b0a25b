"""The Engine.IO server behind python-socketio, which creates it through `AsyncServer._engineio_server_class()`."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import structlog
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from gifchat_realtime_gateway.engine.addresses import Addresses
from gifchat_realtime_gateway.engine.connection import CloseReason, Connection, Link, State
from gifchat_realtime_gateway.engine.first_request import FirstRequest
from gifchat_realtime_gateway.engine.handshake import SESSION_ID, Handshake, parse_query
from gifchat_realtime_gateway.engine.heartbeat import Heartbeat
from gifchat_realtime_gateway.engine.intake import OverspentError
from gifchat_realtime_gateway.engine.link import WebSocketLink
from gifchat_realtime_gateway.engine.options import EngineOptions
from gifchat_realtime_gateway.engine.pipelining import DeferringHttpProtocol
from gifchat_realtime_gateway.engine.polling import Polling
from gifchat_realtime_gateway.engine.sid import new_sid
from gifchat_realtime_gateway.engine.websocket import CloseCode

Handler = Callable[..., Awaitable[Any]]

LINGER_S = 30.0
"""How long unpolled packets are kept after the server has closed a connection."""
MAX_LINGERING = 1_000
"""Limit of closed connections with unpolled packets. Above this the oldest one is dropped."""

_log = structlog.get_logger(__name__)


class EngineServer:
    """Serves connections over polling and WebSocket.

    Implements the part of `engineio.AsyncServer` that `socketio.AsyncServer` uses. The other methods and attributes
    are for the gateway.
    """

    async_mode = "asgi"
    reason = CloseReason

    def __init__(self, *, options: EngineOptions, **_engineio_options: Any) -> None:
        """`_engineio_options`: options that python-socketio passes for its own server; ignored."""
        self.options = options
        self.connections: dict[str, Connection] = {}
        """The open connections, by sid."""
        self.on_closed: Callable[[str], None] | None = None
        """Called with the sid as soon as a connection closes. The `disconnect` handler runs later."""
        self._addresses = Addresses(options.bounds)
        self._handlers: dict[str, Handler] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._heartbeat = Heartbeat(options.ping_interval_s, options.ping_timeout_s)
        self._namespace_deadlines: deque[tuple[float, str]] = deque()
        """The deadline for each new connection to open a namespace, with its sid."""
        self._lingering: dict[str, Connection] = {}
        """Closed connections with packets left for the client's next poll, by sid."""
        self._linger_deadlines: deque[tuple[float, str]] = deque()
        """When each lingering connection is dropped, with its sid."""
        self._handshake = Handshake(self, options)
        self.polling = Polling(self._handshake, self)
        """The ASGI application for `relay.RELAY_PATH`."""

    # ------------------------------------------------------------------------------------------ for the gateway

    def websocket_protocol(self, config: Any, server_state: Any, app_state: dict[str, Any]) -> asyncio.Protocol:
        """Create a protocol for `uvicorn.Config(ws=…)`. Uvicorn's own protocol serves WebSockets on other paths."""
        return WebSocketLink(
            self._handshake,
            server_state.connections,
            lambda: WebSocketsSansIOProtocol(config, server_state, app_state),
        )

    def http_protocol(
        self, config: Any, server_state: Any, app_state: dict[str, Any], **kwargs: Any
    ) -> asyncio.Protocol:
        """Create a protocol for `uvicorn.Config(http=…)`. Uvicorn's own protocol serves all other HTTP requests."""
        return FirstRequest(
            server_state.connections,
            lambda: self.websocket_protocol(config, server_state, app_state),
            lambda: DeferringHttpProtocol(config, server_state, app_state, **kwargs),
        )

    async def run(self) -> None:
        """Send heartbeats and enforce the deadlines, until cancelled."""
        while True:
            await asyncio.sleep(self._heartbeat.turn())
            now_s = time.monotonic()
            while self._namespace_deadlines and self._namespace_deadlines[0][0] <= now_s:
                connection = self.connections.get(self._namespace_deadlines.popleft()[1])
                if connection is not None and not connection.has_namespace:
                    connection.close(CloseReason.SERVER)
            self._addresses.tidy(asyncio.get_running_loop().time())
            while self._linger_deadlines and self._linger_deadlines[0][0] <= now_s:
                self._lingering.pop(self._linger_deadlines.popleft()[1], None)

    async def wait_for_disconnects(self) -> None:
        """Wait until the `disconnect` handlers of all closed connections have run."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    # -------------------------------------------------------------------------------- handshake.Registry, Owner

    def find(self, sid: str) -> Connection | None:
        connection = self.connections.get(sid)
        if connection is None:
            connection = self._lingering.get(sid)
            if connection is not None and connection.state is not State.LINGERING:
                del self._lingering[sid]
                return None
        return connection

    def admits(self, environ: Mapping[str, Any]) -> bool:
        return self._addresses.admits(environ["REMOTE_ADDR"], guest=SESSION_ID not in environ)

    def barred_s(self, environ: Mapping[str, Any]) -> float:
        now_s = asyncio.get_running_loop().time()
        return self._addresses.barred_s(environ["REMOTE_ADDR"], environ.get(SESSION_ID), now_s)

    def add(self, sid: str, environ: dict[str, Any], link: Link | None) -> Connection:
        session_id = environ.get(SESSION_ID)
        intake = self._addresses.enter(environ["REMOTE_ADDR"], guest=session_id is None, session_id=session_id)
        connection = self.connections[sid] = Connection(sid, self, environ, intake, link)
        connection.session_id = session_id
        connection.base64 = bool(parse_query(environ.get("QUERY_STRING", "")).get("b64"))
        self._heartbeat.schedule_ping(connection)
        self._namespace_deadlines.append((time.monotonic() + self.options.namespace_timeout_s, sid))
        return connection

    async def handle_message(self, connection: Connection, data: str | bytes) -> None:
        """See `connection.Owner`. The `connect` handler runs just before the first message is handled."""
        try:
            if connection.session is None:
                connection.session = {}
                await self._handlers["connect"](connection.sid, connection.environ)
            await self._handlers["message"](connection.sid, data)
        except OverspentError:
            connection.intake.exhaust(asyncio.get_running_loop().time())
            connection.close(CloseReason.RATE_LIMITED, CloseCode.RATE_LIMITED)
        except ValueError as error:
            # python-socketio raises ValueError for an invalid Socket.IO packet.
            _log.debug("invalid_message", why=str(error))
            connection.close(CloseReason.TRANSPORT_ERROR, CloseCode.PROTOCOL_ERROR)
            self._linger(connection)
        except Exception:
            # A failure in one connection must not affect the others.
            _log.exception("message_handler_failed", address=connection.environ.get("REMOTE_ADDR"))
            connection.close(CloseReason.TRANSPORT_ERROR, CloseCode.INTERNAL_ERROR)
            self._linger(connection)

    def pong_received(self, connection: Connection) -> None:
        self._heartbeat.schedule_ping(connection)

    def connection_closed(self, connection: Connection, reason: str) -> None:
        if self.on_closed is not None:
            self.on_closed(connection.sid)
        self.connections.pop(connection.sid, None)
        self._addresses.leave(
            connection.intake,
            guest=connection.session_id is None,
            disconnected=reason == CloseReason.RATE_LIMITED,
        )
        if reason in (CloseReason.SERVER, CloseReason.SESSION_REVOKED):
            self._linger(connection)
        if connection.session is None and not connection.is_handling:
            return
        task = asyncio.create_task(self._call_disconnect_handler(connection, reason))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _linger(self, connection: Connection) -> None:
        """Keep a closed connection for the client's next poll, if it has unpolled packets."""
        if connection.has_unpolled_packets:
            connection.linger()
            self._lingering[connection.sid] = connection
            self._linger_deadlines.append((time.monotonic() + LINGER_S, connection.sid))
            if len(self._linger_deadlines) > MAX_LINGERING:
                self._lingering.pop(self._linger_deadlines.popleft()[1], None)

    async def _call_disconnect_handler(self, connection: Connection, reason: str) -> None:
        await connection.wait_until_idle()
        if connection.session is None:
            return
        try:
            await self._handlers["disconnect"](connection.sid, reason)
        except Exception:
            # A failure in one connection must not affect the others.
            _log.exception("disconnect_handler_failed", address=connection.environ.get("REMOTE_ADDR"))

    # ------------------------------------------------------------------------------------ for socketio.AsyncServer

    def on(self, event: str, handler: Handler) -> None:
        self._handlers[event] = handler

    async def handle_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a polling request. WebSockets never arrive here: `websocket_protocol` serves them."""
        if scope["type"] == "http":
            await self.polling.handle(scope, receive, send)

    async def send(self, sid: str, data: str | bytes) -> None:
        """Send a message; a no-op if the connection is closed."""
        connection = self.connections.get(sid)
        if connection is not None:
            connection.send(f"4{data}" if isinstance(data, str) else data)

    async def send_packet(self, sid: str, pkt: Any) -> None:
        await self.send(sid, pkt.data)

    async def disconnect(self, sid: str) -> None:
        """Close a connection; a no-op if it is closed."""
        connection = self.connections.get(sid)
        if connection is not None:
            connection.close(CloseReason.SERVER)

    def namespace_opened(self, sid: str) -> None:
        """Record that the client has opened a namespace, so the connection may stay open."""
        connection = self.connections.get(sid)
        if connection is not None:
            connection.has_namespace = True

    async def get_session(self, sid: str) -> dict[str, Any]:
        """Return the dictionary in which `socketio.AsyncServer.save_session` stores its data.

        Raises:
            KeyError: the connection is closed.
        """
        connection = self.connections[sid]
        if connection.session is None:
            connection.session = {}
        return connection.session

    def transport(self, sid: str) -> str:
        """Return `polling` or `websocket`. Raises KeyError if the connection is closed."""
        return "polling" if self.connections[sid].link is None else "websocket"

    def generate_id(self) -> str:
        return new_sid()

    def create_event(self) -> asyncio.Event:
        return asyncio.Event()

    def start_background_task(self, target: Handler, *args: Any, **kwargs: Any) -> asyncio.Task[Any]:
        return asyncio.ensure_future(target(*args, **kwargs))

    async def sleep(self, seconds: float = 0) -> None:
        await asyncio.sleep(seconds)

    async def shutdown(self) -> None:
        """Close the remaining connections, and wait up to 5 s for their `disconnect` handlers."""
        for connection in list(self.connections.values()):
            connection.close(CloseReason.SERVER)
        with suppress(TimeoutError):
            async with asyncio.timeout(5.0):
                await self.wait_for_disconnects()
