"""Namespace `/room`: the lobby. Clients only listen and probe their connection."""

from datetime import UTC, datetime
from typing import Any

from gifchat_contracts import errors, languages
from gifchat_contracts.errors import Refused
from gifchat_contracts.socket_events import LOBBY_NAMESPACE, PROBE
from gifchat_realtime_gateway.socketio.acks import Ack, probed_ack, refused_ack
from gifchat_realtime_gateway.socketio.environ import budget_of
from gifchat_realtime_gateway.socketio.overrides import ChatServer


class LobbyNamespace:
    """Accepts every client."""

    def __init__(self, server: ChatServer) -> None:
        """Register with `server`."""
        self._server = server
        server.on("connect", self._on_connect, namespace=LOBBY_NAMESPACE)
        server.on(PROBE, self._on_probe, namespace=LOBBY_NAMESPACE)

    async def _on_connect(self, sid: str, environ: dict[str, Any], _auth: object = None) -> None:
        """Accept the client. Every connected client is in the lobby."""

    async def _on_probe(self, sid: str, *_data: Any) -> Ack:
        environ = self._server.get_environ(sid, LOBBY_NAMESPACE)
        if budget_of(environ).spent:
            language = languages.language_of(environ.get("HTTP_ACCEPT_LANGUAGE"))
            return refused_ack(Refused(errors.RATE_LIMITED, 1.0), language)
        return probed_ack(datetime.now(UTC))
