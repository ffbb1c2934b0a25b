"""Decide which requests may open, use or upgrade a connection. Polling and WebSockets follow the same rules.

The rules come from the protocol section "Handshake" and from RFC 6455, section 4.2.
"""

import asyncio
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote

from gifchat_chassis.client_address import TrustedProxies
from gifchat_chassis.origin import origin_allowed
from gifchat_chassis.problems import MEDIA_TYPE, problem_body
from gifchat_contracts import errors
from gifchat_realtime_gateway.engine import protocol
from gifchat_realtime_gateway.engine.connection import Connection, Link
from gifchat_realtime_gateway.engine.deflate import negotiate
from gifchat_realtime_gateway.engine.options import EngineOptions
from gifchat_realtime_gateway.engine.relay import RELAY_PATH
from gifchat_realtime_gateway.engine.sid import new_sid
from gifchat_realtime_gateway.engine.websocket import accept_key, text_frame

NODE_HEADER = "x-engine-io-node"
"""Response header of a handshake: this node's tag. It tells a load balancer which server holds a sid."""
SESSION_ID = "engine.session_id"
"""Key in `environ`: the id of the user's session. A guest has none."""
CROWDED_RETRY_AFTER_S = "10"
_WEBSOCKET_VERSION = "13"


class ErrorCode(Enum):
    """Why a request is refused: code, message and HTTP status of the published server."""

    TRANSPORT_UNKNOWN = (0, "Transport unknown", 400)
    SESSION_UNKNOWN = (1, "Session ID unknown", 400)
    BAD_HANDSHAKE_METHOD = (2, "Bad handshake method", 400)
    BAD_REQUEST = (3, "Bad request", 400)
    FORBIDDEN = (4, "Forbidden", 403)
    UNSUPPORTED_PROTOCOL = (5, "Unsupported protocol version", 400)

    def body(self) -> bytes:
        code, message, _ = self.value
        return json.dumps({"code": code, "message": message}).encode()

    @property
    def status(self) -> int:
        return self.value[2]


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request for a WebSocket."""

    raw: bytes
    method: str
    path: str
    query_string: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """By lower-case name. Repeated headers are joined by commas, cookies by semicolons."""


def parse_request(raw: bytes) -> Request:
    """Parse a request in plain form: uvicorn has normalized it, or `is_plain_websocket_request` has checked it.

    HTTP header fields are Latin-1.
    """
    head, _, _ = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    path, _, query = target.partition("?")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        separator = "; " if name == "cookie" else ","
        headers[name] = f"{headers[name]}{separator}{value}" if name in headers else value
    return Request(raw, method, unquote(path), query, parse_query(query), headers)


@lru_cache(maxsize=256)
def parse_query(query: str) -> Mapping[str, str]:
    """Return the first value of each parameter. Cached, because most clients send the same query."""
    return {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}


@dataclass(frozen=True, slots=True)
class Refusal:
    """The response to a refused request."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"

    @classmethod
    def of(cls, code: ErrorCode) -> "Refusal":
        """Return the refusal for a violation of the protocol."""
        return cls(code.status, code.body())

    @classmethod
    def with_problem(cls, code: errors.ErrorCode, path: str, headers: Mapping[str, str] | None = None) -> "Refusal":
        """Return the refusal for a reason of our own, as a problem document."""
        return cls(code.status, json.dumps(problem_body(code, "en", path)).encode(), headers or {}, MEDIA_TYPE)

    def response(self) -> bytes:
        """Return the whole HTTP response. The TCP connection closes after it."""
        more = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        head = (
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\n"
            f"content-type: {self.content_type}\r\ncontent-length: {len(self.body)}\r\n{more}connection: close\r\n\r\n"
        )
        return head.encode() + self.body


@dataclass(frozen=True, slots=True)
class Accepted:
    """The request is accepted: the response to write, and what the WebSocket is for."""

    response: bytes
    upgrades: Connection | None
    """The connection to upgrade, which may no longer be polling. None for a new connection."""
    open: Callable[[Link], Connection]
    """Creates the new connection. `response` already contains its OPEN packet."""
    deflates: bool = False
    """Messages may be compressed in both directions."""


@dataclass(frozen=True, slots=True)
class OtherNode:
    """Another node holds the session, so the request is relayed to the node with this tag."""

    tag: str


class Registry(Protocol):
    """The connections of this node."""

    def find(self, sid: str) -> Connection | None:
        """Return the connection with this sid: open, or closed with packets left to poll."""

    def admits(self, environ: Mapping[str, Any]) -> bool:
        """Return whether the client's address may open another connection."""

    def barred_s(self, environ: Mapping[str, Any]) -> float:
        """Return for how long the client may not connect, because it was disconnected for overspending."""

    def add(self, sid: str, environ: dict[str, Any], link: Link | None) -> Connection:
        """Create and register a connection."""


class Handshake:
    """Decides whether to accept, refuse or relay a request."""

    def __init__(self, registry: Registry, options: EngineOptions) -> None:
        self.options = options
        self._registry = registry
        self._allowed_origins = frozenset(options.allowed_origins)
        self._proxies = TrustedProxies(options.trusted_proxies)
        self.relay = options.relay
        self.node_tag = options.relay.own_tag if options.relay else ""
        """The prefix of new sids."""
        self._path = f"{options.path}/"

    def session_of(self, headers: Mapping[str, str]) -> str | None:
        """Return the id of the user's session in the request's cookies; None without a valid one."""
        cookies = headers.get("cookie")
        return self.options.session_of(cookies) if cookies else None

    def find(self, sid: str, headers: Mapping[str, str], *, relayed: bool) -> "Connection | OtherNode | Refusal":
        """Find the connection with this sid.

        If a user's session opened the connection, the request must carry the same session. A `relayed` request is not
        relayed again.
        """
        connection = self._registry.find(sid)
        if connection is None:
            tag = self.relay.owner_of(sid) if self.relay is not None and not relayed else None
            return Refusal.of(ErrorCode.SESSION_UNKNOWN) if tag is None else OtherNode(tag)
        if connection.session_id is not None and connection.session_id != self.session_of(headers):
            return Refusal.of(ErrorCode.FORBIDDEN)
        return connection

    def refuse_unless_peer(self, headers: Mapping[str, str]) -> "Refusal | None":
        """Return the refusal for a relayed request; None if a node of this cluster sent it."""
        if self.relay is not None and self.relay.authorized(headers):
            return None
        return Refusal.with_problem(errors.INTERNAL_ONLY, RELAY_PATH)

    def serves(self, request: Request) -> bool:
        """Whether the engine serves the path: the relay's, or its own with all subpaths, like the published server."""
        return f"{request.path}/".startswith(self._path) or request.path == RELAY_PATH

    def origin_allowed(self, origins: Sequence[str]) -> bool:
        """Whether a request with these `Origin` headers may connect."""
        return origin_allowed(origins, self._allowed_origins)

    def refuse_while_draining(self) -> Refusal | None:
        """Return a 503 while this node drains, so that nginx tries the next node; otherwise None."""
        if not self.options.draining():
            return None
        return Refusal.with_problem(errors.NODE_DRAINING, self._path, {"retry-after": "1"})

    def refuse_if_crowded(self, environ: Mapping[str, Any]) -> Refusal | None:
        """Return a 429 if the client overspent a moment ago, or its address may not open another connection."""
        barred_s = self._registry.barred_s(environ)
        if barred_s > 0:
            return Refusal.with_problem(errors.RATE_LIMITED, self._path, {"retry-after": str(math.ceil(barred_s))})
        if self._registry.admits(environ):
            return None
        return Refusal.with_problem(errors.TOO_MANY_CONNECTIONS, self._path, {"retry-after": CROWDED_RETRY_AFTER_S})

    def refuse_revoked(self, environ: Mapping[str, Any]) -> Refusal | None:
        """Return the refusal if the request's session was signed out; otherwise None."""
        session_id: str | None = environ.get(SESSION_ID)
        if session_id is None or not self.options.revoked(session_id):
            return None
        return Refusal.with_problem(errors.SESSION_REVOKED, self._path)

    def open_packet(self, sid: str, upgrades: Sequence[str]) -> str:
        options = self.options
        return protocol.open_packet(sid, upgrades, options.ping_interval_s, options.ping_timeout_s, options.max_bytes)

    def decide(self, request: Request, peer: tuple[str, int] | None) -> Refusal | Accepted | OtherNode:
        """Accept, refuse or relay a request for a WebSocket. `peer` is the address of the TCP connection."""
        headers, query = request.headers, request.query
        relayed = request.path == RELAY_PATH
        if relayed and (refusal := self.refuse_unless_peer(headers)) is not None:
            return refusal
        key = accept_key(headers.get("sec-websocket-key", "").encode("latin-1"))
        if request.method != "GET":
            return Refusal.of(ErrorCode.BAD_HANDSHAKE_METHOD)
        if key is None or "host" not in headers:
            return Refusal.of(ErrorCode.BAD_REQUEST)
        if headers.get("sec-websocket-version") != _WEBSOCKET_VERSION:
            return Refusal(426, ErrorCode.BAD_REQUEST.body(), {"sec-websocket-version": _WEBSOCKET_VERSION})
        # `parse_request` joins two `Origin` headers with a comma, and the result is not an allowed origin.
        if not self.origin_allowed([headers["origin"]] if "origin" in headers else []):
            return Refusal.of(ErrorCode.FORBIDDEN)
        if query.get("EIO") != protocol.PROTOCOL_VERSION:
            return Refusal.of(ErrorCode.UNSUPPORTED_PROTOCOL)
        if query.get("transport") != "websocket":
            return Refusal.of(ErrorCode.TRANSPORT_UNKNOWN)
        offers = headers.get("sec-websocket-extensions", "") if self.options.deflate else ""
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
            return Refusal.of(ErrorCode.BAD_REQUEST)
        if (refusal := self.refuse_while_draining()) is not None:
            return refusal
        sid = new_sid(self.node_tag)
        environ = self.environ(headers, peer[0] if peer else "unknown", request.query_string)
        if (refusal := self.refuse_revoked(environ)) is not None:
            return refusal
        if (refusal := self.refuse_if_crowded(environ)) is not None:
            return refusal
        if self.node_tag:
            response += f"{NODE_HEADER}: {self.node_tag}\r\n".encode()
        response += b"\r\n" + text_frame(self.open_packet(sid, ()).encode())
        return Accepted(response, None, lambda link: self._registry.add(sid, environ, link), deflates)

    def relay_websocket(self, tag: str, request: Request, peer: tuple[str, int] | None) -> asyncio.Protocol:
        """Return the protocol that relays the WebSocket to the node with this tag.

        Raises:
            RuntimeError: this node has no peers.
        """
        if self.relay is None:
            raise RuntimeError("a node without peers cannot relay")
        address = self._proxies.client_address(peer[0] if peer else "unknown", request.headers.get("x-forwarded-for"))
        return self.relay.relay_websocket(tag, request.raw, address, Refusal.of(ErrorCode.SESSION_UNKNOWN).response())

    def environ(self, headers: Mapping[str, str], peer: str, query_string: str) -> dict[str, Any]:
        """Build the `environ` of `connect` handlers: address, query, the user's session, and the accepted languages."""
        environ: dict[str, Any] = {
            "REMOTE_ADDR": self._proxies.client_address(peer, headers.get("x-forwarded-for")),
            "QUERY_STRING": query_string,
        }
        if "accept-language" in headers:
            environ["HTTP_ACCEPT_LANGUAGE"] = headers["accept-language"]
        session_id = self.session_of(headers)
        if session_id is not None:
            environ[SESSION_ID] = session_id
        return environ
