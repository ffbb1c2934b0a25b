"""A new TCP connection, until its first request shows what it is for.

Nearly all of them ask for a WebSocket of the engine's, in a few plain lines that came in one piece: these go to the
link at once. Uvicorn would parse them, write them anew for the link to parse, and make what only HTTP needs: a sixth
of what a connection costs the engine alone. Whatever looks otherwise is uvicorn's, and comes back by its `ws=` hook if
it is for the link after all; so the pattern may be as narrow as it is safe.
"""

import asyncio
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from uvicorn.server import ServerState

_PLAIN = re.compile(
    rb"GET (?:/socket\.io|/internal/v1/engine\.io)/\?[!-~]++ HTTP/1\.1\r\n"
    rb"(?:[A-Za-z0-9-]++:[ -~]*+\r\n)++\r\n"
)
"""One whole request (RFC 9112) without a body, of printable ASCII, with nothing after it.

It never goes back (`++`): what does not fit has been read once.
"""
_BEGINNINGS = (b"GET /socket.io/?", b"GET /internal/v1/engine.io/?")
_WANTED = (b"\r\nupgrade: websocket\r\n", b"\r\nconnection: upgrade\r\n")
_ONCE = (b"\r\nupgrade:", b"\r\nconnection:")
_UNWANTED = (b"\r\ncontent-length:", b"\r\ntransfer-encoding:", b"\r\nexpect:")


def is_plain_websocket_request(data: bytes) -> bool:
    """Whether it is a whole request for a WebSocket of the engine's that nobody could read in another way."""
    if not data.startswith(_BEGINNINGS) or _PLAIN.fullmatch(data) is None:
        return False
    lower = data.lower()
    return (
        all(line in lower for line in _WANTED)
        and all(lower.count(name) == 1 for name in _ONCE)
        and not any(name in lower for name in _UNWANTED)
    )


class FirstRequest(asyncio.Protocol):
    """Hands the connection on with the first bytes that come."""

    def __init__(
        self,
        server_state: "ServerState",
        make_link: Callable[[], asyncio.Protocol],
        make_http: Callable[[], asyncio.Protocol],
    ) -> None:
        """`make_link` makes the protocol for the engine's WebSockets, `make_http` uvicorn's."""
        self._connections: set[Any] = server_state.connections
        self._make_link = make_link
        self._make_http = make_http
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        # uvloop's transports are not registered as what they are.
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        transport = self._transport
        if transport is None:
            return
        self._connections.discard(self)
        protocol = self._make_link() if is_plain_websocket_request(data) else self._make_http()
        # Before it has the data: it may set another one itself.
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - of the interface
        """See `asyncio.Protocol`. It never asked for anything."""
        self._connections.discard(self)

    def shutdown(self) -> None:
        """Uvicorn stops."""
        if self._transport is not None:
            self._transport.close()
