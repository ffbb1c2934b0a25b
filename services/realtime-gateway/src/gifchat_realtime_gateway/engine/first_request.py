"""Route a new TCP connection by its first request: to a WebSocket link, or to uvicorn.

Nearly every connection requests one of the engine's WebSockets, with plain headers that arrive in one read. Those go
straight to the link. Through uvicorn the request would be parsed, serialized and parsed again, with HTTP objects in
between. That is a sixth of the engine's cost of opening a connection. Every other request goes to uvicorn, whose `ws=`
hook passes WebSocket requests to the link. The pattern can therefore be strict.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any, cast

_PLAIN_REQUEST = re.compile(
    rb"GET (?:/socket\.io|/internal/v1/engine\.io)/\?[!-~]++ HTTP/1\.1\r\n"
    rb"(?:[A-Za-z0-9-]++:[ -~]*+\r\n)++\r\n"
)
"""Exactly one request (RFC 9112) without a body, in printable ASCII.

Possessive quantifiers (`++`) rule out backtracking, so a request that does not match costs linear time.
"""
_PREFIXES = (b"GET /socket.io/?", b"GET /internal/v1/engine.io/?")
_REQUIRED_LINES = (b"\r\nupgrade: websocket\r\n", b"\r\nconnection: upgrade\r\n")
_UNIQUE_HEADERS = (b"\r\nupgrade:", b"\r\nconnection:")
_FORBIDDEN_HEADERS = (b"\r\ncontent-length:", b"\r\ntransfer-encoding:", b"\r\nexpect:")


def is_plain_websocket_request(data: bytes) -> bool:
    """Whether `data` is one whole request for an engine WebSocket that every HTTP parser reads the same way."""
    if not data.startswith(_PREFIXES) or _PLAIN_REQUEST.fullmatch(data) is None:
        return False
    lower = data.lower()
    return (
        all(line in lower for line in _REQUIRED_LINES)
        and all(lower.count(name) == 1 for name in _UNIQUE_HEADERS)
        and not any(name in lower for name in _FORBIDDEN_HEADERS)
    )


class FirstRequest(asyncio.Protocol):
    """Passes the TCP connection to the right protocol when the first bytes arrive."""

    def __init__(
        self,
        server_connections: set[Any],
        make_link: Callable[[], asyncio.Protocol],
        make_http: Callable[[], asyncio.Protocol],
    ) -> None:
        """`server_connections` is uvicorn's set of connections.

        `make_link` creates the protocol for the engine's WebSockets, and `make_http` creates uvicorn's HTTP protocol.
        """
        self._connections = server_connections
        self._make_link = make_link
        self._make_http = make_http
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, because uvloop's transports do not subclass `asyncio.Transport`.
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        if transport is None:
            return
        self._connections.discard(self)
        protocol = self._make_link() if is_plain_websocket_request(data) else self._make_http()
        # Set the protocol before it gets data, because it may replace itself.
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - required by the interface
        self._connections.discard(self)

    def shutdown(self) -> None:
        """Close the connection, because uvicorn is stopping. The client has sent no request yet."""
        if self._transport is not None:
            self._transport.close()
