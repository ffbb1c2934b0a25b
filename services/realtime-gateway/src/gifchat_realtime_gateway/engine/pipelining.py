"""A request for a WebSocket that comes behind others on its TCP connection waits until they are answered.

HTTP/1.1 answers in the order of the requests (RFC 9112, 9.3.2). Uvicorn queues requests for that but hands the
connection over at once when one asks for a WebSocket: the 101 would overtake the other responses, or cut them off.
"""

import asyncio
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    _Base = HttpToolsProtocol
else:
    _Base = object

MAX_EARLY_BYTES = 64 * 1024
"""What a client may send before its WebSocket is accepted; it has no reason to send anything."""


class _UpgradesInOrder(_Base):
    """Mixed into uvicorn's protocol for HTTP."""

    _waits = False
    _early = b""

    def handle_websocket_upgrade(self) -> None:
        """Upgrade now, or when the last response is complete."""
        if self.cycle is None or self.cycle.response_complete:
            super().handle_websocket_upgrade()
        else:
            self._waits = True

    def on_response_complete(self) -> None:
        """Upgrade if this was the last response before it."""
        is_last = not self.pipeline
        super().on_response_complete()
        if self._waits and is_last and not self.transport.is_closing():
            self._waits = False
            self._unset_keepalive_if_required()
            super().handle_websocket_upgrade()
            # Refused: what follows the request is nobody's.
            if self._early and not self.transport.is_closing():
                protocol = cast("asyncio.Protocol", self.transport.get_protocol())
                protocol.data_received(self._early)

    def data_received(self, data: bytes) -> None:
        """Keep what comes while the upgrade waits."""
        if not self._waits:
            super().data_received(data)
            return
        self._early += data
        if len(self._early) > MAX_EARLY_BYTES:
            self.transport.close()


def upgrading_in_order(http_protocol: type[asyncio.Protocol]) -> type[asyncio.Protocol]:
    """Make uvicorn's protocol for HTTP wait with an upgrade."""
    bases: Any = (_UpgradesInOrder, http_protocol)
    return type("HttpInOrder", bases, {})
