"""The Engine.IO server as python-socketio uses one: it makes it by `_engineio_server_class()` and hooks itself in."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import structlog
from starlette.types import Receive, Scope, Send

from gifchat_realtime_gateway.engine.connection import CloseReason, Connection, Link
from gifchat_realtime_gateway.engine.first_request import FirstRequest
from gifchat_realtime_gateway.engine.handshake import PATH, Handshake, query_of
from gifchat_realtime_gateway.engine.heartbeat import Heartbeat
from gifchat_realtime_gateway.engine.link import WebSocketLink
from gifchat_realtime_gateway.engine.pipelining import upgrading_in_order
from gifchat_realtime_gateway.engine.polling import Polling, RelayedRequests
from gifchat_realtime_gateway.engine.relay import Relay
from gifchat_realtime_gateway.engine.sid import new_sid
from gifchat_realtime_gateway.engine.websocket import CloseCode

Handler = Callable[..., Awaitable[Any]]

FIRST_WORD_TIMEOUT_S = 45.0
"""A client opens a namespace within this time, or goes."""
PARTING_S = 30.0
"""How long packets that the client has not polled are kept after the server closed the connection."""
MAX_PARTING = 1_000
"""Closed connections that are kept at once; above this the oldest one goes."""

_log = structlog.get_logger(__name__)


class EngineServer:
    """Connections over polling and WebSocket.

    The part of `engineio.AsyncServer` that `socketio.AsyncServer` needs, and what the product adds: `connections`,
    and the protocols that uvicorn is given.
    """

    async_mode = "asgi"
    reason = CloseReason

    def __init__(
        self,
        *,
        allowed_origins: Sequence[str],
        trusted_proxies: str,
        ping_interval_s: float,
        ping_timeout_s: float,
        max_bytes: int,
        draining: Callable[[], bool],
        deflate: bool = False,
        relay: Relay | None = None,
        session_of: Callable[[str], str | None] = lambda _cookies: None,
        first_word_timeout_s: float = FIRST_WORD_TIMEOUT_S,
        path: str = PATH,
        **_of_engineio: Any,
    ) -> None:
        """See `Handshake` for most of these.

        `_of_engineio`: options that python-socketio adds for its own server, of no meaning here.
        """
        self.connections: dict[str, Connection] = {}
        self.deflate = deflate
        self.on_closed: Callable[[str], None] | None = None
        """Called with the sid as soon as a connection closes; the `disconnect` handlers run later."""
        self._handlers: dict[str, Handler] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._heartbeat = Heartbeat(ping_interval_s, ping_timeout_s)
        self._first_word_timeout_s = first_word_timeout_s
        self._newcomers: deque[tuple[float, str]] = deque()
        """Who has not been let in yet, and until when it may take."""
        self._parting: dict[str, Connection] = {}
        """Closed connections with packets left for the client's next poll, by sid."""
        self._partings: deque[tuple[float, str]] = deque()
        """When each of them is dropped, with its sid."""
        self._handshake = Handshake(
            self,
            allowed_origins=allowed_origins,
            trusted_proxies=trusted_proxies,
            ping_interval_s=ping_interval_s,
            ping_timeout_s=ping_timeout_s,
            max_bytes=max_bytes,
            draining=draining,
            deflate=deflate,
            relay=relay,
            session_of=session_of,
            path=path,
        )
        self._polling = Polling(self._handshake, self)
        self.relayed_requests = RelayedRequests(self._polling)
        """The ASGI application for `relay.PATH`."""

    # ------------------------------------------------------------------------------------------ for the product

    def websocket_protocol(self, asgi_protocol: type[asyncio.Protocol]) -> Callable[..., asyncio.Protocol]:
        """What `uvicorn.Config(ws=…)` takes; `asgi_protocol` serves WebSockets on other paths."""

        def make(config: Any, server_state: Any, app_state: dict[str, Any]) -> asyncio.Protocol:
            def fallback() -> asyncio.Protocol:
                make_asgi: Callable[..., asyncio.Protocol] = asgi_protocol
                return make_asgi(config=config, server_state=server_state, app_state=app_state)

            return WebSocketLink(self._handshake, server_state, fallback)

        return make

    def http_protocol(
        self, asgi_protocol: type[asyncio.Protocol], asgi_websocket_protocol: type[asyncio.Protocol]
    ) -> Callable[..., asyncio.Protocol]:
        """What `uvicorn.Config(http=…)` takes; `asgi_protocol` serves what is not for the engine's WebSockets."""
        make_link = self.websocket_protocol(asgi_websocket_protocol)
        make_asgi: Callable[..., asyncio.Protocol] = upgrading_in_order(asgi_protocol)

        def make(config: Any, server_state: Any, app_state: dict[str, Any], **more: Any) -> asyncio.Protocol:
            return FirstRequest(
                server_state,
                lambda: make_link(config, server_state, app_state),
                lambda: make_asgi(config=config, server_state=server_state, app_state=app_state, **more),
            )

        return make

    async def run(self) -> None:
        """Keep the heart beating, and close who never says a word, until cancelled."""
        while True:
            await asyncio.sleep(self._heartbeat.turn())
            now_s = time.monotonic()
            while self._newcomers and self._newcomers[0][0] <= now_s:
                connection = self.connections.get(self._newcomers.popleft()[1])
                if connection is not None and not connection.admitted:
                    connection.close(CloseReason.SERVER)
            while self._partings and self._partings[0][0] <= now_s:
                self._parting.pop(self._partings.popleft()[1], None)

    async def ended(self) -> None:
        """Return when every connection that is over has been told of."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    # -------------------------------------------------------------------------------- handshake.Registry, Owner

    def find(self, sid: str) -> Connection | None:
        """See `handshake.Registry`."""
        connection = self.connections.get(sid)
        if connection is None:
            connection = self._parting.get(sid)
            if connection is not None and not connection.parting:
                del self._parting[sid]
                return None
        return connection

    def add(self, sid: str, environ: dict[str, Any], link: Link | None) -> Connection:
        """See `handshake.Registry`."""
        connection = self.connections[sid] = Connection(sid, self, environ, link)
        connection.base64 = bool(query_of(environ.get("QUERY_STRING", "")).get("b64"))
        self._heartbeat.alive(connection)
        self._newcomers.append((time.monotonic() + self._first_word_timeout_s, sid))
        return connection

    async def handle(self, connection: Connection, data: str | bytes) -> None:
        """See `connection.Owner`. Nobody is told of a connection before it says something."""
        try:
            if connection.session is None:
                connection.session = {}
                await self._handlers["connect"](connection.sid, connection.environ)
            await self._handlers["message"](connection.sid, data)
        except ValueError as error:
            # python-socketio's word for a packet that is none.
            _log.debug("invalid_message", why=str(error))
            connection.close(CloseReason.TRANSPORT_ERROR, CloseCode.PROTOCOL_ERROR)
            self._let_part(connection)
        except Exception:
            # The boundary of a connection: the others go on.
            _log.exception("message_handler_failed", address=connection.environ.get("REMOTE_ADDR"))
            connection.close(CloseReason.TRANSPORT_ERROR, CloseCode.INTERNAL_ERROR)
            self._let_part(connection)

    def answered(self, connection: Connection) -> None:
        """See `connection.Owner`."""
        self._heartbeat.alive(connection)

    def closed(self, connection: Connection, reason: str) -> None:
        """See `connection.Owner`."""
        if self.on_closed is not None:
            self.on_closed(connection.sid)
        self.connections.pop(connection.sid, None)
        if reason == CloseReason.SERVER:
            self._let_part(connection)
        if connection.session is None and not connection.busy:
            return
        task = asyncio.create_task(self._tell_end(connection, reason))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _let_part(self, connection: Connection) -> None:
        """Keep a closed connection for the client's next poll, if packets are left."""
        if connection.unread:
            connection.parting = True
            self._parting[connection.sid] = connection
            self._partings.append((time.monotonic() + PARTING_S, connection.sid))
            if len(self._partings) > MAX_PARTING:
                self._parting.pop(self._partings.popleft()[1], None)

    async def _tell_end(self, connection: Connection, reason: str) -> None:
        await connection.worked_off()
        if connection.session is None:
            return
        try:
            await self._handlers["disconnect"](connection.sid, reason)
        except Exception:
            # The boundary of a connection: the others go on.
            _log.exception("disconnect_handler_failed", address=connection.environ.get("REMOTE_ADDR"))

    # ------------------------------------------------------------------------------------ for socketio.AsyncServer

    def on(self, event: str, handler: Handler) -> None:
        """Set the handler of `connect`, `message` or `disconnect`."""
        self._handlers[event] = handler

    async def handle_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A polling request; WebSockets come by `websocket_protocol`."""
        if scope["type"] == "http":
            await self._polling.handle(scope, receive, send)

    async def send(self, sid: str, data: str | bytes) -> None:
        """Send a message; to a connection that is gone: nothing."""
        connection = self.connections.get(sid)
        if connection is not None:
            connection.send(f"4{data}" if isinstance(data, str) else data)

    async def send_packet(self, sid: str, pkt: Any) -> None:
        """Send an `engineio.packet.Packet` of type MESSAGE."""
        await self.send(sid, pkt.data)

    async def disconnect(self, sid: str) -> None:
        """Close a connection."""
        connection = self.connections.get(sid)
        if connection is not None:
            connection.close(CloseReason.SERVER)

    def admit(self, sid: str) -> None:
        """The client has opened a namespace, and may stay."""
        connection = self.connections.get(sid)
        if connection is not None:
            connection.admitted = True

    async def get_session(self, sid: str) -> dict[str, Any]:
        """What `socketio.AsyncServer.save_session` has stored.

        Raises:
            KeyError: the connection is gone.
        """
        connection = self.connections[sid]
        if connection.session is None:
            connection.session = {}
        return connection.session

    def transport(self, sid: str) -> str:
        """`polling` or `websocket`.

        Raises:
            KeyError: the connection is gone.
        """
        return "polling" if self.connections[sid].link is None else "websocket"

    def generate_id(self) -> str:
        """A Socket.IO sid."""
        return new_sid()

    def create_event(self) -> asyncio.Event:
        """For `socketio.AsyncServer.call`."""
        return asyncio.Event()

    def start_background_task(self, target: Handler, *arguments: Any, **named: Any) -> asyncio.Task[Any]:
        """Run `target` as a task."""
        return asyncio.ensure_future(target(*arguments, **named))

    async def sleep(self, seconds: float = 0) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def shutdown(self) -> None:
        """Close what is left."""
        for connection in list(self.connections.values()):
            connection.close(CloseReason.SERVER)
        with suppress(TimeoutError):
            async with asyncio.timeout(5.0):
                await self.ended()
