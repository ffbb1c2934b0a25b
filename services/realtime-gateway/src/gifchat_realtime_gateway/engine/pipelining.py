"""Delay a pipelined WebSocket upgrade until the earlier requests on its TCP connection are answered.

HTTP/1.1 responses must come in the order of the requests (RFC 9112, section 9.3.2). Uvicorn queues pipelined requests,
but upgrades at once: the 101 would overtake the other responses, or cut them off.
"""

import asyncio
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_EARLY_BYTES = 64 * 1024
"""Limit of bytes that follow the request before the WebSocket is accepted. Well-behaved clients send none."""


class DeferringHttpProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP protocol, with deferred upgrades."""

    _upgrade_deferred = False
    _early_bytes = b""

    def handle_websocket_upgrade(self) -> None:
        """Upgrade now if all responses are complete, otherwise later."""
        if self.cycle is None or self.cycle.response_complete:
            super().handle_websocket_upgrade()
        else:
            self._upgrade_deferred = True

    def on_response_complete(self) -> None:
        """Upgrade if this was the last response before the upgrade."""
        is_last = not self.pipeline
        super().on_response_complete()
        if self._upgrade_deferred and is_last and not self.transport.is_closing():
            self._upgrade_deferred = False
            self._unset_keepalive_if_required()
            super().handle_websocket_upgrade()
            # If the upgrade was refused, the transport is closing and the bytes are dropped.
            if self._early_bytes and not self.transport.is_closing():
                protocol = cast("asyncio.Protocol", self.transport.get_protocol())
                protocol.data_received(self._early_bytes)

    def data_received(self, data: bytes) -> None:
        """Buffer what arrives while the upgrade is deferred."""
        if not self._upgrade_deferred:
            super().data_received(data)
            return
        self._early_bytes += data
        if len(self._early_bytes) > MAX_EARLY_BYTES:
            self.transport.close()
