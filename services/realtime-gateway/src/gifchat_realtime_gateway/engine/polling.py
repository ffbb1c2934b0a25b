"""The polling transport over ASGI: GET waits for packets, POST brings some."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import structlog
from starlette.types import Message, Receive, Scope, Send

from gifchat_realtime_gateway.engine import protocol
from gifchat_realtime_gateway.engine.connection import CloseReason, Connection, EndedError, OverlapError, State
from gifchat_realtime_gateway.engine.handshake import (
    NODE_HEADER,
    Elsewhere,
    Handshake,
    Problem,
    Refusal,
    Registry,
    query_of,
)
from gifchat_realtime_gateway.engine.protocol import InvalidPacketError, Via, action_of
from gifchat_realtime_gateway.engine.relay import NodeGoneError, PollingRequest
from gifchat_realtime_gateway.engine.sid import new_sid

_TEXT = b"text/plain; charset=UTF-8"
_log = structlog.get_logger(__name__)


class Polling:
    """Answers requests on the engine's path that are no WebSockets."""

    def __init__(self, handshake: Handshake, registry: Registry) -> None:
        self._handshake = handshake
        self._registry = registry

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a client's request."""
        headers = _headers(scope)
        origin = headers.get("origin")
        # No browser sends two `Origin` headers.
        origins = sum(name == b"origin" for name, _ in scope["headers"])
        if origins > 1 or not self._handshake.origin_allowed(origin):
            await _refuse(send, Refusal.of(Problem.FORBIDDEN), None)
        elif scope["method"] == "OPTIONS":
            await _answer(send, 204, b"", origin, more=_preflight(headers.get("access-control-request-headers")))
        else:
            await self._serve(scope, receive, send, headers, relayed=False)

    async def handle_relayed(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a client's request that another node relayed."""
        headers = _headers(scope)
        refusal = self._handshake.refuse_stranger(headers)
        if refusal is not None:
            await _refuse(send, refusal, None)
        else:
            await self._serve(scope, receive, send, headers, relayed=True)

    async def _serve(
        self, scope: Scope, receive: Receive, send: Send, headers: Mapping[str, str], *, relayed: bool
    ) -> None:
        # The relaying node adds the CORS headers.
        origin = None if relayed else headers.get("origin")
        query = query_of(scope["query_string"].decode("latin-1"))
        found = self._find(scope["method"], query, headers, relayed=relayed)
        match found:
            case Refusal():
                await _refuse(send, found, origin)
            case None:
                await self._open(scope, headers, send, origin)
            case Elsewhere(tag):
                words = scope["query_string"].decode("latin-1")
                request = PollingRequest(scope["method"], words, headers, _address(scope))
                await self._relay(tag, request, receive, send, origin)
            case Connection() if scope["method"] == "GET":
                await self._poll(found, query.get("t"), receive, send, origin, relayed=relayed)
            case Connection():
                await self._post(found, headers, receive, send, origin)

    def _find(
        self, method: str, query: Mapping[str, str], headers: Mapping[str, str], *, relayed: bool
    ) -> Connection | Elsewhere | Refusal | None:
        """The connection that the request is about; None: it asks for a new one."""
        if query.get("EIO") != protocol.PROTOCOL_VERSION:
            return Refusal.of(Problem.UNSUPPORTED_PROTOCOL)
        if query.get("transport") not in ("polling", "websocket"):
            return Refusal.of(Problem.TRANSPORT_UNKNOWN)
        if query["transport"] != "polling" or method not in ("GET", "POST"):
            return Refusal.of(Problem.BAD_REQUEST if method in ("GET", "POST") else Problem.BAD_HANDSHAKE_METHOD)
        sid = query.get("sid")
        if sid is None:
            refuse = method != "GET" or relayed
            return Refusal.of(Problem.BAD_HANDSHAKE_METHOD) if refuse else self._handshake.refuse_new()
        found = self._handshake.find(sid, headers, relayed=relayed)
        if isinstance(found, Connection) and found.state is State.WEBSOCKET:
            return Refusal.of(Problem.BAD_REQUEST)
        return found

    async def _open(self, scope: Scope, headers: Mapping[str, str], send: Send, origin: str | None) -> None:
        # uvicorn has looked behind the proxies already.
        query_string = scope["query_string"].decode("latin-1")
        environ = self._handshake.environ({**headers, "x-forwarded-for": ""}, _address(scope), query_string)
        sid = new_sid(self._handshake.node_tag)
        self._registry.add(sid, environ, None).session_id = self._handshake.session_of(headers)
        body = self._handshake.open_packet(sid, ["websocket"]).encode()
        node = self._handshake.node_tag
        await _answer(send, 200, body, origin, more=[(NODE_HEADER.encode(), node.encode())] if node else None)

    async def _relay(self, tag: str, request: PollingRequest, receive: Receive, send: Send, origin: str | None) -> None:
        relay = self._handshake.relay
        if relay is None:
            raise RuntimeError("only a node with peers relays")
        if request.method == "POST":
            try:
                body = await _read(receive, request.headers.get("content-length"), self._handshake.max_bytes)
            except _CutError:
                await relay.end(tag, request)
                return
            if body is None:
                await relay.end(tag, request)
                await _answer(send, 413, b"", origin)
                return
            request = replace(request, body=body)
        asking = asyncio.create_task(relay.ask(tag, request))
        # When the client hangs up, this node hangs up on the owner, which then closes the session.
        watching = asyncio.create_task(_until_disconnected(receive))
        try:
            await asyncio.wait({asking, watching}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                answer = asking.result()
                await _answer(send, answer.status, answer.body, origin, content_type=answer.content_type)
        except NodeGoneError as error:
            _log.debug("relay_failed", why=str(error))
            await _refuse(send, Refusal.of(Problem.SESSION_UNKNOWN), origin)
        finally:
            asking.cancel()
            watching.cancel()

    async def _poll(
        self, connection: Connection, t: str | None, receive: Receive, send: Send, origin: str | None, *, relayed: bool
    ) -> None:
        last, connection.relayed_poll = connection.relayed_poll, t if relayed else None
        if t is not None and t == last:
            # Clients send a new `t` with every poll, so a balancer repeated this one after its relay died. The packets
            # of the lost answer are gone, so the client has to reconnect.
            connection.close(CloseReason.TRANSPORT_CLOSE)
            await _refuse(send, Refusal.of(Problem.SESSION_UNKNOWN), origin)
            return
        await _Poll(connection, receive, send, origin).run()

    async def _post(
        self, connection: Connection, headers: Mapping[str, str], receive: Receive, send: Send, origin: str | None
    ) -> None:
        if connection.posting:
            connection.close(CloseReason.TRANSPORT_ERROR)
            await _refuse(send, Refusal.of(Problem.BAD_REQUEST), origin)
            return
        connection.posting = True
        try:
            try:
                body = await _read(receive, headers.get("content-length"), self._handshake.max_bytes)
            except _CutError:
                connection.close(CloseReason.TRANSPORT_CLOSE)
                return
            if body is None:
                connection.close(CloseReason.TRANSPORT_ERROR)
                await _answer(send, 413, b"", origin)
                return
            if connection.closed and not connection.parting:
                await _refuse(send, Refusal.of(Problem.SESSION_UNKNOWN), origin)
                return
            try:
                for packet in protocol.parse_payload(body.decode()):
                    connection.receive(action_of(Via.POST, packet), packet.data)
            except (InvalidPacketError, UnicodeDecodeError):
                connection.close(CloseReason.TRANSPORT_ERROR)
                await _refuse(send, Refusal.of(Problem.BAD_REQUEST), origin)
                return
            await connection.handled()
        finally:
            connection.posting = False
        await _answer(send, 200, b"ok", origin, content_type=b"text/html")


class RelayedRequests:
    """ASGI application for polling requests that other nodes relay: a route takes an object, not a bound method."""

    def __init__(self, polling: Polling) -> None:
        self._polling = polling

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        await self._polling.handle_relayed(scope, receive, send)


class _Poll:
    """One GET that waits; a client that hangs up meanwhile has ended the connection."""

    def __init__(self, connection: Connection, receive: Receive, send: Send, origin: str | None) -> None:
        self._connection = connection
        self._receive = receive
        self._send = send
        self._origin = origin

    async def run(self) -> None:
        watching = asyncio.create_task(self._watch())
        try:
            packets = await self._connection.poll()
        except OverlapError:
            self._connection.close(CloseReason.TRANSPORT_ERROR)
            await _refuse(self._send, Refusal.of(Problem.BAD_REQUEST), self._origin)
            return
        except EndedError:
            await _refuse(self._send, Refusal.of(Problem.SESSION_UNKNOWN), self._origin)
            return
        finally:
            watching.cancel()
        await _answer(self._send, 200, protocol.encode_payload(packets).encode(), self._origin)

    async def _watch(self) -> None:
        await _until_disconnected(self._receive)
        self._connection.close(CloseReason.TRANSPORT_CLOSE)


class _CutError(Exception):
    """The client hung up in the middle of a body: what came of it says nothing."""


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else "unknown"


async def _until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read(receive: Receive, length: str | None, max_bytes: int) -> bytes | None:
    """The body; None where it is too large, whatever its length is said to be.

    Raises:
        _CutError: there is less of it than was said.
    """
    if length is not None and length.isdecimal() and int(length) > max_bytes:
        return None
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _CutError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > max_bytes:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


def _preflight(requested: str | None) -> list[tuple[bytes, bytes]]:
    """Headers that allow the requested headers to a page of an allowed origin."""
    return [
        (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
        (b"access-control-allow-headers", (requested or "content-type").encode("latin-1")),
        (b"vary", b"Access-Control-Request-Headers"),
    ]


async def _refuse(send: Send, refusal: Refusal, origin: str | None) -> None:
    more = [(name.encode(), value.encode()) for name, value in refusal.headers.items()]
    await _answer(send, refusal.status, refusal.body, origin, content_type=b"application/json", more=more)


async def _answer(
    send: Send,
    status: int,
    body: bytes,
    origin: str | None,
    *,
    content_type: bytes = _TEXT,
    more: list[tuple[bytes, bytes]] | None = None,
) -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    headers += [(b"cache-control", b"no-store"), *(more or [])]
    if origin is not None:
        headers += [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-allow-credentials", b"true"),
            (b"vary", b"Origin"),
        ]
    start: Message = {"type": "http.response.start", "status": status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})
