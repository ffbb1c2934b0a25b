"""Who may open a connection, and with what answer: the rules for polling and WebSocket requests alike."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from http import HTTPStatus
from ipaddress import ip_address, ip_network
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote

from gifchat_contracts import errors
from gifchat_realtime_gateway.engine import protocol
from gifchat_realtime_gateway.engine.connection import Connection, Link
from gifchat_realtime_gateway.engine.deflate import negotiate
from gifchat_realtime_gateway.engine.relay import PATH as RELAY_PATH
from gifchat_realtime_gateway.engine.relay import Relay
from gifchat_realtime_gateway.engine.sid import new_sid
from gifchat_realtime_gateway.engine.websocket import accept_key, text_frame

PATH = "/socket.io"
NODE_HEADER = "x-engine-io-node"
"""Header with this node's tag in the answer to a handshake. A front door learns from it which server owns a sid."""
_WEBSOCKET_VERSION = "13"


class Problem(Enum):
    """What a request is refused with; code and message as the published server has them."""

    TRANSPORT_UNKNOWN = (0, "Transport unknown", 400)
    SESSION_UNKNOWN = (1, "Session ID unknown", 400)
    BAD_HANDSHAKE_METHOD = (2, "Bad handshake method", 400)
    BAD_REQUEST = (3, "Bad request", 400)
    FORBIDDEN = (4, "Forbidden", 403)
    UNSUPPORTED_PROTOCOL = (5, "Unsupported protocol version", 400)

    def body(self) -> bytes:
        """The JSON of the answer."""
        code, message, _ = self.value
        return json.dumps({"code": code, "message": message}).encode()

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.value[2]


@dataclass(frozen=True, slots=True)
class Request:
    """A request that wants to become a WebSocket."""

    raw: bytes
    method: str
    path: str
    query_string: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """By lower-case name; repeated ones joined by commas, cookies by semicolons."""


def read_request(raw: bytes) -> Request:
    """Read a request whose lines are plain: uvicorn has parsed it and written it anew, or `is_plain_websocket_request`.

    Latin-1, as HTTP's header fields are.
    """
    head, _, _ = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    path, _, query = target.partition("?")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        between = "; " if name == "cookie" else ","
        headers[name] = f"{headers[name]}{between}{value}" if name in headers else value
    return Request(raw, method, unquote(path), query, query_of(query), headers)


@lru_cache(maxsize=256)
def query_of(query: str) -> Mapping[str, str]:
    """The first value of each parameter. Most clients ask with the same words."""
    return {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}


@dataclass(frozen=True, slots=True)
class Refusal:
    """No."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, problem: Problem) -> "Refusal":
        """For breaking a rule of the protocol."""
        return cls(problem.status, problem.body())

    def response(self) -> bytes:
        """The whole HTTP response, after which the connection is closed."""
        more = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        head = (
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(self.body)}\r\n{more}connection: close\r\n\r\n"
        )
        return head.encode() + self.body


@dataclass(frozen=True, slots=True)
class Accepted:
    """Yes: the response to write, and what the WebSocket is for."""

    response: bytes
    upgrades: Connection | None
    """The connection to upgrade, which may no longer be polling; None for a new connection."""
    open: Callable[[Link], Connection]
    """Makes the new connection; its OPEN packet is in `response` already."""
    deflates: bool = False
    """Messages may be compressed, both ways."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Another node holds the session: relay the request to the node with this tag."""

    tag: str


class Registry(Protocol):
    """The connections that there are."""

    def find(self, sid: str) -> Connection | None:
        """The open connection with this id."""
        ...

    def add(self, sid: str, environ: dict[str, Any], link: Link | None) -> Connection:
        """A new one."""
        ...


class Handshake:
    """Decides over requests."""

    def __init__(
        self,
        registry: Registry,
        *,
        allowed_origins: Sequence[str],
        trusted_proxies: str,
        ping_interval_s: float,
        ping_timeout_s: float,
        max_bytes: int,
        draining: Callable[[], bool],
        deflate: bool = False,
        relay: Relay | None = None,
        session_of: Callable[[str], str | None] = lambda _cookies: None,
        path: str = PATH,
    ) -> None:
        """`trusted_proxies`: comma-separated addresses and networks whose X-Forwarded-For is believed.

        With `deflate` clients that offer it may be sent compressed messages. Without `relay` this node has no peers.
        `session_of` returns the id of the user's session in a `Cookie` header; None without a valid one.
        `path` has no trailing slash.
        """
        self.max_bytes = max_bytes
        self.deflate = deflate
        self._registry = registry
        self._allowed_origins = frozenset(allowed_origins)
        self._trusted = [ip_network(part.strip(), strict=False) for part in trusted_proxies.split(",") if part.strip()]
        # Nearly all connections come from the same few proxies.
        self._is_trusted = lru_cache(maxsize=1_024)(self._trusts)
        self._ping_interval_s = ping_interval_s
        self._ping_timeout_s = ping_timeout_s
        self._draining = draining
        self.relay = relay
        self.node_tag = relay.own_tag if relay else ""
        """Prefix of new sids."""
        self._session_of = session_of
        self._path = f"{path}/"

    def session_of(self, headers: Mapping[str, str]) -> str | None:
        """Return the id of the user's session in the request's cookies; None without a valid one."""
        cookies = headers.get("cookie")
        return self._session_of(cookies) if cookies else None

    def find(self, sid: str, headers: Mapping[str, str], *, relayed: bool) -> "Connection | Elsewhere | Refusal":
        """Find the connection with this sid.

        If a session opened the connection, the request must carry the same session. A `relayed` request is not relayed
        again.
        """
        connection = self._registry.find(sid)
        if connection is None:
            owner = self.relay.owner_of(sid) if self.relay is not None and not relayed else None
            return Refusal.of(Problem.SESSION_UNKNOWN) if owner is None else Elsewhere(owner)
        if connection.session_id is not None and connection.session_id != self.session_of(headers):
            return Refusal.of(Problem.FORBIDDEN)
        return connection

    def refuse_stranger(self, headers: Mapping[str, str]) -> "Refusal | None":
        """Refuse a relayed request that does not come from a node of this cluster; None if it does."""
        if self.relay is not None and self.relay.authorized(headers):
            return None
        code = errors.INTERNAL_ONLY
        return Refusal(code.status, json.dumps({"code": code.code, "message": code.text("en")}).encode())

    def concerns(self, request: Request) -> bool:
        """Whether the engine serves the path. Like the published server it serves every path below its own."""
        return f"{request.path}/".startswith(self._path) or request.path == RELAY_PATH

    def origin_allowed(self, origin: str | None) -> bool:
        """A request without `Origin` is no browser's."""
        return origin is None or origin in self._allowed_origins

    def refuse_new(self) -> Refusal | None:
        """Whether this node takes no new connections: nginx asks the next one at a 503."""
        if not self._draining():
            return None
        code = errors.NODE_DRAINING
        return Refusal(
            code.status, json.dumps({"code": code.code, "message": code.text("en")}).encode(), {"retry-after": "1"}
        )

    def open_packet(self, sid: str, upgrades: Sequence[str]) -> str:
        """The OPEN packet of a new connection."""
        return protocol.open_packet(sid, upgrades, self._ping_interval_s, self._ping_timeout_s, self.max_bytes)

    def client_address(self, peer: str, forwarded_for: str | None) -> str:
        """The client's address: the last one in `forwarded_for` that none of our proxies has, from the right."""
        address = peer
        for hop in reversed((forwarded_for or "").split(",")):
            if not self._is_trusted(address):
                return address
            address = hop.strip() or address
        return address

    def decide(self, request: Request, peer: tuple[str, int] | None) -> Refusal | Accepted | Elsewhere:
        """Over a request for a WebSocket."""
        headers, query = request.headers, request.query
        relayed = request.path == RELAY_PATH
        if relayed and (refusal := self.refuse_stranger(headers)) is not None:
            return refusal
        key = accept_key(headers.get("sec-websocket-key", "").encode("latin-1"))
        if request.method != "GET":
            return Refusal.of(Problem.BAD_HANDSHAKE_METHOD)
        if key is None or "host" not in headers:
            return Refusal.of(Problem.BAD_REQUEST)
        if headers.get("sec-websocket-version") != _WEBSOCKET_VERSION:
            return Refusal(426, Problem.BAD_REQUEST.body(), {"sec-websocket-version": _WEBSOCKET_VERSION})
        if not self.origin_allowed(headers.get("origin")):
            return Refusal.of(Problem.FORBIDDEN)
        if query.get("EIO") != protocol.PROTOCOL_VERSION:
            return Refusal.of(Problem.UNSUPPORTED_PROTOCOL)
        if query.get("transport") != "websocket":
            return Refusal.of(Problem.TRANSPORT_UNKNOWN)
        offers = headers.get("sec-websocket-extensions", "") if self.deflate else ""
        extension = negotiate(offers, headers.get("user-agent", "")) if offers else None
        response = (
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
            b"sec-websocket-accept: " + key + b"\r\n"
        )
        if extension is not None:
            response += b"sec-websocket-extensions: " + extension.encode() + b"\r\n"
        deflates = extension is not None
        sid = query.get("sid")
        if sid is not None:
            connection = self.find(sid, headers, relayed=relayed)
            if not isinstance(connection, Connection):
                return connection
            return Accepted(response + b"\r\n", connection, lambda _link: connection, deflates)
        if relayed:
            return Refusal.of(Problem.BAD_REQUEST)
        if (refusal := self.refuse_new()) is not None:
            return refusal
        sid = new_sid(self.node_tag)
        environ = self.environ(headers, peer[0] if peer else "unknown", request.query_string)
        if self.node_tag:
            response += f"{NODE_HEADER}: {self.node_tag}\r\n".encode()
        response += b"\r\n" + text_frame(self.open_packet(sid, ()).encode())
        return Accepted(response, None, lambda link: self._registry.add(sid, environ, link), deflates)

    def carry(self, tag: str, request: Request, peer: tuple[str, int] | None) -> asyncio.Protocol:
        """Return the protocol that carries the WebSocket to the node with this tag.

        Raises:
            RuntimeError: this node has no peers.
        """
        if self.relay is None:
            raise RuntimeError("only a node with peers relays")
        address = self.client_address(peer[0] if peer else "unknown", request.headers.get("x-forwarded-for"))
        return self.relay.carry(tag, request.raw, address, Refusal.of(Problem.SESSION_UNKNOWN).response())

    def environ(self, headers: Mapping[str, str], peer: str, query_string: str) -> dict[str, Any]:
        """Build the `environ` of `connect` handlers: the address, the query, and the headers that they use."""
        environ: dict[str, Any] = {
            "REMOTE_ADDR": self.client_address(peer, headers.get("x-forwarded-for")),
            "QUERY_STRING": query_string,
        }
        for name, key in (("cookie", "HTTP_COOKIE"), ("accept-language", "HTTP_ACCEPT_LANGUAGE")):
            if name in headers:
                environ[key] = headers[name]
        return environ

    def _trusts(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._trusted)
