"""Relay requests for another node's session to that node, so that clients and balancers need no stickiness.

A sid starts with the tag of its node (`sid.py`), and `Nodes` knows the node's address. The relay repeats polling
requests over HTTP, and splices upgrading WebSockets to the session's node byte for byte. That node serves both on
`RELAY_PATH`. It accepts only callers with the internal token, and never relays their requests again.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Final, NewType, Protocol

import aiohttp
import structlog
from yarl import URL

from gifchat_chassis.internal_token import InternalToken
from gifchat_realtime_gateway.engine import protocol
from gifchat_realtime_gateway.engine.sid import tag_of
from gifchat_realtime_gateway.engine.splice import Side

RELAY_PATH: Final = "/internal/v1/engine.io/"
"""Path of relayed requests. nginx answers 404 to everything below `/internal`."""
CONNECT_TIMEOUT_S = 2.0
KEEPALIVE_S = 4.0
"""Shorter than the 5 s after which uvicorn closes idle connections, so no request is sent on a closing one."""
MAX_CONNECTIONS = 4_096
"""Limit of concurrent relayed polling requests, for all nodes together."""
_FORWARDED_HEADERS: Final = ("cookie", "content-type", "user-agent", "accept-language")
"""Headers of a polling request that the session's node may need."""
_REPLACED_HEADERS: Final = (b"authorization", b"x-forwarded-for")
"""Headers of a WebSocket request that the relay writes itself."""

RelayedId = NewType("RelayedId", str)
"""Identifies a request or WebSocket that this node relays. Not a sid."""

_log = structlog.get_logger(__name__)


class Nodes(Protocol):
    """Knows the nodes of the cluster by their tags."""

    async def address_of(self, tag: str) -> str | None:
        """Return `host:port` of a live node; None if there is none. Answers from memory while Redis is down."""


@dataclass(frozen=True, slots=True)
class PollingRequest:
    """A polling request as the client sent it."""

    method: str
    query: str
    headers: Mapping[str, str]
    """By lower-case name."""
    address: str
    """The client's address, as resolved behind trusted proxies."""
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class RelayedResponse:
    """The response of the session's node."""

    status: int
    content_type: bytes
    body: bytes


class NodeGoneError(Exception):
    """The session's node is unreachable, so the session is lost."""


class Relay:
    """Relays requests to other nodes, and authenticates the requests that they relay."""

    def __init__(
        self,
        own_tag: str,
        nodes: Nodes,
        internal_token: str,
        *,
        poll_timeout_s: float,
        on_request: Callable[[], None] = lambda: None,
        on_socket: Callable[[], None] = lambda: None,
    ) -> None:
        """Requires a running event loop.

        A node must answer a poll within `poll_timeout_s`. `on_request` is called for each relayed polling request,
        `on_socket` for each relayed WebSocket.
        """
        self._on_request = on_request
        self._on_socket = on_socket
        self.own_tag = own_tag
        self._nodes = nodes
        self._token = InternalToken(internal_token)
        self._http = aiohttp.ClientSession(
            headers={"Authorization": self._token.authorization},
            timeout=aiohttp.ClientTimeout(connect=CONNECT_TIMEOUT_S, sock_read=poll_timeout_s),
            connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=KEEPALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        self._numbers = count(1)
        self._closers: dict[RelayedId, Callable[[], object]] = {}
        """Functions that end a relayed request or WebSocket."""
        self._join_tasks: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        """End everything that is being relayed, and close all connections to other nodes."""
        for close in list(self._closers.values()):
            close()
        await self._http.close()

    def owner_of(self, sid: str) -> str | None:
        """Return the tag in the sid; None if it is this node's tag, or if the sid has none."""
        tag = tag_of(sid)
        return None if tag == self.own_tag else tag

    def authorized(self, headers: Mapping[str, str]) -> bool:
        """Whether another node of this cluster sent the request."""
        return self._token.matches(headers.get("authorization"))

    def relayed(self) -> list[RelayedId]:
        """Return the requests and WebSockets that this node is relaying."""
        return list(self._closers)

    def close(self, relayed: RelayedId) -> None:
        """End a relayed request or WebSocket; a no-op if it has ended."""
        close = self._closers.get(relayed)
        if close is not None:
            close()

    # ---------------------------------------------------------------------------------------------------- polling

    async def forward(self, tag: str, request: PollingRequest) -> RelayedResponse:
        """Repeat a client's request to the node with this tag.

        Raises:
            NodeGoneError: no live node has this tag, the node does not answer, or this node is stopping.
        """
        relayed = RelayedId(f"request {next(self._numbers)}")
        sending = asyncio.create_task(self._request(tag, request))
        self._closers[relayed] = sending.cancel
        self._on_request()
        try:
            await asyncio.wait({sending})
            if sending.cancelled():
                # `close` cancels the request when this node stops. The client loses its session and reconnects.
                raise NodeGoneError("this node is stopping")
            return sending.result()
        finally:
            sending.cancel()
            del self._closers[relayed]

    async def end_session(self, tag: str, request: PollingRequest) -> None:
        """Close the session on its node, because the client's POST was cut off or too large."""
        try:
            await self.forward(tag, replace(request, body=protocol.CLOSE_PACKET.encode()))
        except NodeGoneError as error:
            _log.debug("relay_failed", why=str(error))

    async def _request(self, tag: str, request: PollingRequest) -> RelayedResponse:
        address = await self._address_of(tag)
        # `encoded`: the session's node must get the query unchanged.
        url = URL(f"http://{address}{RELAY_PATH}?{request.query}", encoded=True)
        headers = {name: request.headers[name] for name in _FORWARDED_HEADERS if name in request.headers}
        headers["x-forwarded-for"] = request.address
        try:
            async with self._http.request(request.method, url, headers=headers, data=request.body) as response:
                content_type = response.headers.get("content-type", "text/plain").encode("latin-1")
                return RelayedResponse(response.status, content_type, await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise NodeGoneError(f"{type(error).__name__}: {error}") from error

    # -------------------------------------------------------------------------------------------------- WebSockets

    def relay_websocket(self, tag: str, request: bytes, address: str, refusal: bytes) -> asyncio.Protocol:
        """Return the protocol for the client's TCP connection, which splices it to the node with this tag.

        `request` is the client's HTTP request with all headers, `address` the client's address. The client gets
        `refusal`, an HTTP response, if the node is unreachable.
        """
        relayed = RelayedId(f"websocket {next(self._numbers)}")
        client_side = Side(lambda: self._closers.pop(relayed, None))
        self._closers[relayed] = client_side.close
        self._on_socket()
        task = asyncio.create_task(self._join(client_side, tag, self._rewrite(request, address), refusal))
        self._join_tasks.add(task)
        task.add_done_callback(self._join_tasks.discard)
        return client_side

    async def _join(self, client_side: Side, tag: str, request: bytes, refusal: bytes) -> None:
        node_side = Side()
        try:
            host, _, port = (await self._address_of(tag)).rpartition(":")
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await asyncio.get_running_loop().create_connection(lambda: node_side, host.strip("[]"), int(port))
        except (NodeGoneError, OSError, TimeoutError) as error:
            _log.debug("relay_failed", why=str(error))
            client_side.write(refusal)
            client_side.close()
            return
        client_side.join(node_side, request)

    async def _address_of(self, tag: str) -> str:
        address = await self._nodes.address_of(tag)
        if address is None:
            raise NodeGoneError("no live node has this tag")
        return address

    def _rewrite(self, request: bytes, address: str) -> bytes:
        """Return the request for the session's node: with the relay's path, our token and the client's address."""
        head, _, _ = request.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        method, target, version = first.split(b" ")
        _, _, query = target.partition(b"?")
        kept = [line for line in lines if line.partition(b":")[0].strip().lower() not in _REPLACED_HEADERS]
        own = (f"authorization: {self._token.authorization}", f"x-forwarded-for: {address}")
        first = b"%b %b?%b %b" % (method, RELAY_PATH.encode(), query, version)
        return b"\r\n".join([first, *kept, *(line.encode("latin-1") for line in own), b"", b""])
