"""The polling transport over ASGI: GET waits for packets, POST brings some."""

import asyncio
from collections.abc import Mapping

from starlette.types import Message, Receive, Scope, Send

from realtime_gateway.engine import protocol
from realtime_gateway.engine.connection import CloseReason, Connection, OverlapError, State
from realtime_gateway.engine.handshake import Handshake, Problem, Refusal, Registry, new_sid, query_of
from realtime_gateway.engine.protocol import InvalidPacketError, Via, action_of

_TEXT = b"text/plain; charset=UTF-8"


class Polling:
    """Answers requests on the engine's path that are no WebSockets."""

    def __init__(self, handshake: Handshake, registry: Registry) -> None:
        self._handshake = handshake
        self._registry = registry

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query = query_of(scope["query_string"].decode("latin-1"))
        origin = headers.get("origin")
        if not self._handshake.origin_allowed(origin):
            await _refuse(send, Refusal.of(Problem.FORBIDDEN), None)
            return
        if scope["method"] == "OPTIONS":
            await _answer(send, 204, b"", origin, preflight=True)
            return
        problem = self._check(scope["method"], query)
        if isinstance(problem, Refusal):
            await _refuse(send, problem, origin)
        elif problem is None:
            await self._open(scope, headers, send, origin)
        elif scope["method"] == "GET":
            await _Poll(problem, receive, send, origin).run()
        else:
            await self._post(problem, headers, receive, send, origin)

    def _check(self, method: str, query: Mapping[str, str]) -> Connection | Refusal | None:
        """The connection that the request is about; None: it asks for a new one."""
        if query.get("EIO") != protocol.PROTOCOL_VERSION:
            return Refusal.of(Problem.UNSUPPORTED_PROTOCOL)
        if query.get("transport") not in ("polling", "websocket"):
            return Refusal.of(Problem.TRANSPORT_UNKNOWN)
        if query["transport"] != "polling" or method not in ("GET", "POST"):
            return Refusal.of(Problem.BAD_REQUEST if method in ("GET", "POST") else Problem.BAD_HANDSHAKE_METHOD)
        sid = query.get("sid")
        if sid is None:
            return Refusal.of(Problem.BAD_HANDSHAKE_METHOD) if method != "GET" else self._handshake.refuse_new()
        connection = self._registry.find(sid)
        if connection is None:
            return Refusal.of(Problem.SESSION_UNKNOWN)
        return Refusal.of(Problem.BAD_REQUEST) if connection.state is State.WEBSOCKET else connection

    async def _open(self, scope: Scope, headers: Mapping[str, str], send: Send, origin: str | None) -> None:
        client = scope.get("client")
        # uvicorn has looked behind the proxies already.
        environ = self._handshake.environ({**headers, "x-forwarded-for": ""}, client[0] if client else "unknown")
        sid = new_sid()
        self._registry.add(sid, environ, None)
        await _answer(send, 200, self._handshake.open_packet(sid, ["websocket"]).encode(), origin)

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
            if connection.closed:
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
        finally:
            watching.cancel()
        await _answer(self._send, 200, protocol.encode_payload(packets).encode(), self._origin)

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._connection.close(CloseReason.TRANSPORT_CLOSE)


class _CutError(Exception):
    """The client hung up in the middle of a body: what came of it says nothing."""


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
    preflight: bool = False,
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
    if preflight:
        headers += [
            (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
            (b"access-control-allow-headers", b"content-type"),
        ]
    start: Message = {"type": "http.response.start", "status": status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})
