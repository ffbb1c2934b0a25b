"""Namespace `/room`: the lobby. Clients only listen."""

from typing import Any

from room_contracts.socket_events import LOBBY_NAMESPACE


class LobbyNamespace:
    """Lets everybody in."""

    def __init__(self, server: Any) -> None:
        """Register with `server`, a `socketio.AsyncServer`."""
        server.on("connect", self._on_connect, namespace=LOBBY_NAMESPACE)

    async def _on_connect(self, sid: str, environ: dict[str, Any], _auth: object = None) -> None:
        """Being connected is being in the lobby."""
