"""`/ws`, the plain WebSocket from the original's first part. One timer sends a status to all clients every 3 s."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import structlog
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from gifchat_chassis.origin import origin_allowed
from gifchat_chassis.problems import problem_response
from gifchat_contracts import errors
from gifchat_contracts.events import timestamp
from gifchat_contracts.socket_events import NEWS_PERIOD_S
from gifchat_realtime_gateway import metrics

POLICY_VIOLATION = 1008
CLOSE_TIMEOUT_S = 2.0

_log = structlog.get_logger(__name__)


class WebSocketDemo:
    """Keeps track of the connected clients and sends them the status."""

    def __init__(
        self,
        node_name: str,
        allowed_origins: tuple[str, ...],
        clock: Callable[[], datetime],
        *,
        draining: Callable[[], bool],
        online: Callable[[], int],
    ) -> None:
        self._node_name = node_name
        self._allowed_origins = allowed_origins
        self._clock = clock
        self._draining = draining
        self._online = online
        self._connections: set[WebSocket] = set()
        self._sending: dict[WebSocket, asyncio.Task[None]] = {}

    def route(self) -> WebSocketRoute:
        """Return the route `/ws`."""
        return WebSocketRoute("/ws", self._serve)

    async def run(self) -> None:
        """Send the status once per period, until cancelled."""
        while True:
            await asyncio.sleep(NEWS_PERIOD_S)
            self.send_status()

    def send_status(self) -> None:
        """Send the status to all clients, except those to which the last one is still being sent."""
        status = {
            "time": timestamp(self._clock()),
            "node": self._node_name,
            "online": self._online() + len(self._connections),
        }
        text = json.dumps(status)
        for connection in self._connections - self._sending.keys():
            self._sending[connection] = asyncio.create_task(self._send(connection, text))

    async def close(self) -> None:
        """Close all connections, because the node is stopping. Clients may reconnect elsewhere."""
        closing = [asyncio.create_task(_quietly_close(connection)) for connection in self._connections]
        if closing:
            await asyncio.wait(closing, timeout=CLOSE_TIMEOUT_S)

    async def _serve(self, connection: WebSocket) -> None:
        if not origin_allowed(connection.headers.getlist("origin"), self._allowed_origins):
            await connection.close(POLICY_VIOLATION)
            return
        if self._draining():
            await connection.send_denial_response(problem_response(errors.NODE_DRAINING, "en", connection.url.path))
            return
        await connection.accept()
        address = connection.client.host if connection.client else "unknown"
        # Debug level, and one line per connection: clients must not be able to flood the log.
        _log.debug("ws_connected", address=address)
        self._connections.add(connection)
        try:
            while (await connection.receive())["type"] != "websocket.disconnect":
                metrics.WS_MESSAGES.inc()
        finally:
            self._connections.discard(connection)

    async def _send(self, connection: WebSocket, text: str) -> None:
        try:
            # Ignore a closing connection, because `_serve` handles the disconnect.
            with suppress(WebSocketDisconnect, RuntimeError):
                await connection.send_text(text)
        finally:
            del self._sending[connection]


async def _quietly_close(connection: WebSocket) -> None:
    with suppress(WebSocketDisconnect, RuntimeError):
        await connection.close(1001)
