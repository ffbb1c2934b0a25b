"""Relay requests for another node's session to that node, so that clients and balancers need no stickiness.

A sid starts with the tag of its node (`sid.py`), and `Nodes` knows the node's address. The relay repeats polling
requests over HTTP. It joins an upgrading WebSocket to the owner byte for byte. The owner serves both on `PATH`, only
to callers with the internal token, and never relays them again.
"""

import asyncio
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Final, Protocol

import aiohttp
import structlog
from yarl import URL

from gifchat_realtime_gateway.engine import protocol
from gifchat_realtime_gateway.engine.sid import tag_of
from gifchat_realtime_gateway.engine.splice import Half

PATH: Final = "/internal/v1/engine.io/"
"""Path of relayed requests. The front door answers 404 to everything below `/internal`."""
CONNECT_TIMEOUT_S = 2.0
KEEPALIVE_S = 4.0
"""Shorter than the 5 s after which uvicorn closes idle connections, so no request meets a closing one."""
MAX_CONNECTIONS = 4_096
"""Limit of concurrent relayed polling requests, to all nodes together."""
_PASSED_ON: Final = ("cookie", "content-type", "user-agent", "accept-language")
"""Request headers that the owner may need."""
_OWN_HEADERS: Final = ("authorization", "x-forwarded-for")

_log = structlog.get_logger(__name__)


class Nodes(Protocol):
    """Knows the nodes of the cluster by their tags."""

    async def address_of(self, tag: str) -> str | None:
        """Return `host:port` of a live node; None if there is none. Answers from memory while Redis is down."""
        ...


@dataclass(frozen=True, slots=True)
class PollingRequest:
    """A polling request as the client sent it."""

    method: str
    query: str
    headers: Mapping[str, str]
    """By lower-case name."""
    address: str
    """The client's address, behind our proxies."""
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of the session's node."""

    status: int
    content_type: bytes
    body: bytes


class NodeGoneError(Exception):
    """The session's node cannot be reached, so the session is lost."""


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
        """Needs a running event loop.

        `poll_timeout_s`: how long a node may take to answer a poll. `on_request` and `on_socket` are called for each
        relayed polling request and WebSocket.
        """
        self._on_request = on_request
        self._on_socket = on_socket
        self.own_tag = own_tag
        self._nodes = nodes
        self._authorization = f"Bearer {internal_token}"
        self._http = aiohttp.ClientSession(
            headers={"Authorization": self._authorization},
            timeout=aiohttp.ClientTimeout(connect=CONNECT_TIMEOUT_S, sock_read=poll_timeout_s),
            connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=KEEPALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        self._numbers = count(1)
        self._carried: dict[str, Callable[[], object]] = {}
        """Functions that end a relayed request or WebSocket, by its id."""
        self._joining: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        """Close all connections to other nodes."""
        for close in list(self._carried.values()):
            close()
        await self._http.close()

    def owner_of(self, sid: str) -> str | None:
        """Return the tag in the sid; None if it is this node's tag, or if the sid has none."""
        tag = tag_of(sid)
        return None if tag == self.own_tag else tag

    def authorized(self, headers: Mapping[str, str]) -> bool:
        """Whether another node of this cluster sent the request."""
        given = headers.get("authorization", "")
        return hmac.compare_digest(given.encode("latin-1", "replace"), self._authorization.encode())

    def carried(self) -> list[str]:
        """Return the ids of the requests and WebSockets that this node relays now."""
        return list(self._carried)

    def close(self, carried: str) -> None:
        """End a relayed request or WebSocket; a no-op if it is over."""
        close = self._carried.get(carried)
        if close is not None:
            close()

    # ---------------------------------------------------------------------------------------------------- polling

    async def ask(self, tag: str, request: PollingRequest) -> Answer:
        """Repeat a client's request to the node with this tag.

        Raises:
            NodeGoneError: there is no such node, or it does not answer.
        """
        number = f"request {next(self._numbers)}"
        asking = asyncio.create_task(self._ask(tag, request))
        self._carried[number] = asking.cancel
        self._on_request()
        try:
            # Cancelled by `close`, because this node stops: the client loses its session and reconnects.
            await asyncio.wait({asking})
            if asking.cancelled():
                raise NodeGoneError("the relay stops")
            return asking.result()
        finally:
            asking.cancel()
            del self._carried[number]

    async def end(self, tag: str, request: PollingRequest) -> None:
        """Close the session on its node, because the client's POST was cut off or is too large."""
        try:
            await self.ask(tag, replace(request, body=protocol.CLOSE_PACKET.encode()))
        except NodeGoneError as error:
            _log.debug("relay_failed", why=str(error))

    async def _ask(self, tag: str, request: PollingRequest) -> Answer:
        node = await self._node(tag)
        # `encoded`: the owner must get the query unchanged.
        url = URL(f"http://{node}{PATH}?{request.query}", encoded=True)
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        headers["x-forwarded-for"] = request.address
        try:
            async with self._http.request(request.method, url, headers=headers, data=request.body) as response:
                content_type = response.headers.get("content-type", "text/plain").encode("latin-1")
                return Answer(response.status, content_type, await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise NodeGoneError(f"{type(error).__name__}: {error}") from error

    # -------------------------------------------------------------------------------------------------- WebSockets

    def carry(self, tag: str, request: bytes, address: str, refusal: bytes) -> asyncio.Protocol:
        """Return a protocol that relays a WebSocket to the node with this tag.

        `request` is the request with all its headers. The client gets `refusal` if the node is gone.
        """
        number = f"websocket {next(self._numbers)}"
        near = Half(lambda: self._ended(number))
        self._carried[number] = near.close
        self._on_socket()
        task = asyncio.create_task(self._join(near, tag, self._rewritten(request, address), refusal))
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)
        return near

    def _ended(self, number: str) -> None:
        self._carried.pop(number, None)

    async def _join(self, near: Half, tag: str, request: bytes, refusal: bytes) -> None:
        far = Half()
        try:
            host, _, port = (await self._node(tag)).rpartition(":")
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await asyncio.get_running_loop().create_connection(lambda: far, host.strip("[]"), int(port))
        except (NodeGoneError, OSError, TimeoutError) as error:
            _log.debug("relay_failed", why=str(error))
            near.write(refusal)
            near.close()
            return
        near.join(far, request)

    async def _node(self, tag: str) -> str:
        node = await self._nodes.address_of(tag)
        if node is None:
            raise NodeGoneError("no such node")
        return node

    def _rewritten(self, request: bytes, address: str) -> bytes:
        """The request for the owner: with the relay's path, this node's token and the client's address."""
        head, _, _ = request.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        method, target, version = first.split(b" ")
        _, _, query = target.partition(b"?")
        kept = [line for line in lines if line.partition(b":")[0].strip().lower().decode("latin-1") not in _OWN_HEADERS]
        own = (f"authorization: {self._authorization}", f"x-forwarded-for: {address}")
        first = b"%b %b?%b %b" % (method, PATH.encode(), query, version)
        return b"\r\n".join([first, *kept, *(line.encode("latin-1") for line in own), b"", b""])
