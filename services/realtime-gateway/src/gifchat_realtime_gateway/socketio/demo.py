"""Namespace `/`: the original's demo. One timer sends `news` to all clients every 3 s. Replies are counted."""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from gifchat_contracts.events import body
from gifchat_contracts.socket_events import DEMO_NAMESPACE, NEWS, NEWS_PERIOD_S, NEWS_TEXT, REPLY
from gifchat_realtime_gateway import metrics
from gifchat_realtime_gateway.socketio.environ import address_of
from gifchat_realtime_gateway.socketio.overrides import ChatServer

_log = structlog.get_logger(__name__)


class DemoNamespace:
    """Sends the news and counts the replies."""

    def __init__(self, server: ChatServer, broadcast: Callable[[str, bytes], None]) -> None:
        """Register with `server`; `broadcast` writes an event to a whole namespace."""
        self._broadcast = broadcast
        server.on("connect", self._on_connect, namespace=DEMO_NAMESPACE)
        server.on("disconnect", self._on_disconnect, namespace=DEMO_NAMESPACE)
        server.on(REPLY, self._on_reply, namespace=DEMO_NAMESPACE)

    async def run(self) -> None:
        """Send the news once per period, until cancelled."""
        while True:
            await asyncio.sleep(NEWS_PERIOD_S)
            self._broadcast(DEMO_NAMESPACE, body(NEWS, NEWS_TEXT))

    async def _on_connect(self, sid: str, environ: dict[str, Any], _auth: object = None) -> None:
        _log.debug("demo_connected", sid=sid, address=address_of(environ))

    async def _on_disconnect(self, sid: str, reason: str = "") -> None:
        _log.debug("demo_disconnected", sid=sid, reason=reason)

    async def _on_reply(self, _sid: str, *_data: Any) -> None:
        metrics.DEMO_REPLIES.inc()
