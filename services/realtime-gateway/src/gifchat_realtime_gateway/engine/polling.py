"""The polling transport over ASGI (protocol section "HTTP long-polling"): GET waits for packets, POST sends packets."""

import asyncio
from dataclasses import replace

import structlog
from starlette.types import Message, Receive, Scope, Send

from gifchat_contracts import errors
from gifchat_realtime_gateway.engine import protocol
from gifchat_realtime_gateway.engine.connection import (
    CloseReason,
    Connection,
    ConnectionClosedError,
    OverlappingPollError,
    State,
)
from gifchat_realtime_gateway.engine.handshake import (
    NODE_HEADER,
    ErrorCode,
    Handshake,
    OtherNode,
    Refusal,
    Registry,
    parse_query,
)
from gifchat_realtime_gateway.engine.protocol import InvalidPacketError, Source, action_of
from gifchat_realtime_gateway.engine.relay import NodeGoneError, PollingRequest
from gifchat_realtime_gateway.engine.sid import new_sid

_TEXT = b"text/plain; charset=UTF-8"
_log = structlog.get_logger(__name__)


class _BodyCutOffError(Exception):
    """The client disconnected before it had sent the whole body."""


class _BodyTooLargeError(Exception):
    """The body has more bytes than a payload may have."""


class _Exchange:
    """One polling request and the means to answer it."""

    __slots__ = ("_receive", "_send", "cors_origin", "headers", "method", "peer", "query", "query_string", "relayed")

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, relayed: bool) -> None:
        """`relayed`: another node passed the request on. That node adds the CORS headers and watches the client."""
        self._receive = receive
        self._send = send
        self.method: str = scope["method"]
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        """By lower-case name."""
        self.query_string: str = scope["query_string"].decode("latin-1")
        self.query = parse_query(self.query_string)
        client = scope.get("client")
        self.peer: str = client[0] if client else "unknown"
        """The client's address: uvicorn has already resolved trusted proxies."""
        self.relayed = relayed
        self.cors_origin = None if relayed else self.headers.get("origin")
        """The origin that may read the answer; None for no CORS headers."""

    async def read_body(self, max_bytes: int) -> bytes:
        """Read the body. Content-Length is only a hint, so the bytes are counted too.

        Raises:
            _BodyCutOffError: the client disconnected.
            _BodyTooLargeError: the body has more than `max_bytes`.
        """
        length = self.headers.get("content-length")
        if length is not None and length.isdecimal() and int(length) > max_bytes:
            raise _BodyTooLargeError
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                raise _BodyCutOffError
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > max_bytes:
                raise _BodyTooLargeError
            if not message.get("more_body"):
                return b"".join(parts)

    async def until_disconnected(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def answer(
        self, status: int, body: bytes, *, content_type: bytes = _TEXT, more: list[tuple[bytes, bytes]] | None = None
    ) -> None:
        """Send the whole response. `more` adds headers."""
        headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
        headers += [(b"cache-control", b"no-store"), *(more or [])]
        if self.cors_origin is not None:
            headers += [
                (b"access-control-allow-origin", self.cors_origin.encode("latin-1")),
                (b"access-control-allow-credentials", b"true"),
                (b"vary", b"Origin"),
            ]
        start: Message = {"type": "http.response.start", "status": status, "headers": headers}
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})

    async def refuse(self, refusal: Refusal) -> None:
        more = [(name.encode(), value.encode()) for name, value in refusal.headers.items()]
        await self.answer(refusal.status, refusal.body, content_type=refusal.content_type.encode(), more=more)

    async def answer_preflight(self) -> None:
        """Allow pages of an allowed origin to send the headers that they asked for."""
        requested = self.headers.get("access-control-request-headers") or "content-type"
        more = [
            (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
            (b"access-control-allow-headers", requested.encode("latin-1")),
            (b"vary", b"Access-Control-Request-Headers"),
        ]
        await self.answer(204, b"", more=more)


class Polling:
    """Serves polling requests: `handle` serves those of clients, and `__call__` those that other nodes relay."""

    def __init__(self, handshake: Handshake, registry: Registry) -> None:
        self._handshake = handshake
        self._registry = registry

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = _Exchange(scope, receive, send, relayed=False)
        origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
        if not self._handshake.origin_allowed(origins):
            exchange.cors_origin = None
            await exchange.refuse(Refusal.of(ErrorCode.FORBIDDEN))
        elif exchange.method == "OPTIONS":
            await exchange.answer_preflight()
        else:
            await self._serve(exchange)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a client's request that another node relayed."""
        exchange = _Exchange(scope, receive, send, relayed=True)
        refusal = self._handshake.refuse_unless_peer(exchange.headers)
        if refusal is not None:
            await exchange.refuse(refusal)
        else:
            await self._serve(exchange)

    async def _serve(self, exchange: _Exchange) -> None:
        found = self._find(exchange)
        match found:
            case Refusal():
                await exchange.refuse(found)
            case None:
                await self._open(exchange)
            case OtherNode(tag):
                await self._relay(exchange, tag)
            case Connection() if exchange.method == "GET":
                await self._poll(exchange, found)
            case Connection():
                await self._post(exchange, found)

    def _find(self, exchange: _Exchange) -> Connection | OtherNode | Refusal | None:
        """Find the connection that the request is about. None: the request opens a new one."""
        query, method = exchange.query, exchange.method
        if query.get("EIO") != protocol.PROTOCOL_VERSION:
            return Refusal.of(ErrorCode.UNSUPPORTED_PROTOCOL)
        if query.get("transport") not in ("polling", "websocket"):
            return Refusal.of(ErrorCode.TRANSPORT_UNKNOWN)
        if query["transport"] != "polling" or method not in ("GET", "POST"):
            return Refusal.of(ErrorCode.BAD_REQUEST if method in ("GET", "POST") else ErrorCode.BAD_HANDSHAKE_METHOD)
        sid = query.get("sid")
        if sid is None:
            refuse = method != "GET" or exchange.relayed
            return Refusal.of(ErrorCode.BAD_HANDSHAKE_METHOD) if refuse else self._handshake.refuse_while_draining()
        found = self._handshake.find(sid, exchange.headers, relayed=exchange.relayed)
        if isinstance(found, Connection) and found.state is State.WEBSOCKET:
            return Refusal.of(ErrorCode.BAD_REQUEST)
        return found

    async def _open(self, exchange: _Exchange) -> None:
        # Without X-Forwarded-For, because `peer` is the client's address already.
        headers = {**exchange.headers, "x-forwarded-for": ""}
        environ = self._handshake.environ(headers, exchange.peer, exchange.query_string)
        if (refusal := self._handshake.refuse_revoked(environ)) is not None:
            await exchange.refuse(refusal)
            return
        if (refusal := self._handshake.refuse_if_crowded(environ)) is not None:
            await exchange.refuse(refusal)
            return
        node = self._handshake.node_tag
        sid = new_sid(node)
        self._registry.add(sid, environ, None)
        body = self._handshake.open_packet(sid, ["websocket"]).encode()
        await exchange.answer(200, body, more=[(NODE_HEADER.encode(), node.encode())] if node else None)

    async def _relay(self, exchange: _Exchange, tag: str) -> None:
        relay = self._handshake.relay
        if relay is None:
            raise RuntimeError("a node without peers cannot relay")
        request = PollingRequest(exchange.method, exchange.query_string, exchange.headers, exchange.peer)
        if request.method == "POST":
            try:
                request = replace(request, body=await exchange.read_body(self._handshake.options.max_bytes))
            except _BodyCutOffError:
                await relay.end_session(tag, request)
                return
            except _BodyTooLargeError:
                await relay.end_session(tag, request)
                await exchange.answer(413, b"")
                return
        forwarding = asyncio.create_task(relay.forward(tag, request))
        # When the client disconnects, this node disconnects from the session's node, which then closes the session.
        watching = asyncio.create_task(exchange.until_disconnected())
        try:
            await asyncio.wait({forwarding, watching}, return_when=asyncio.FIRST_COMPLETED)
            if forwarding.done():
                response = forwarding.result()
                await exchange.answer(response.status, response.body, content_type=response.content_type)
        except NodeGoneError as error:
            _log.debug("relay_failed", why=str(error))
            await exchange.refuse(Refusal.of(ErrorCode.SESSION_UNKNOWN))
        finally:
            forwarding.cancel()
            watching.cancel()

    async def _poll(self, exchange: _Exchange, connection: Connection) -> None:
        t = exchange.query.get("t")
        last, connection.last_relayed_poll = connection.last_relayed_poll, t if exchange.relayed else None
        if t is not None and t == last:
            # Clients send a new `t` with every poll, so a balancer repeated this one after the relaying node died. The
            # packets in the lost response are gone, so the client has to reconnect.
            connection.close(CloseReason.TRANSPORT_CLOSE)
            await exchange.refuse(Refusal.of(ErrorCode.SESSION_UNKNOWN))
            return
        watching = asyncio.create_task(_close_when_disconnected(exchange, connection))
        try:
            packets = await connection.poll()
        except OverlappingPollError:
            connection.close(CloseReason.TRANSPORT_ERROR)
            await exchange.refuse(Refusal.of(ErrorCode.BAD_REQUEST))
            return
        except ConnectionClosedError:
            await exchange.refuse(Refusal.of(ErrorCode.SESSION_UNKNOWN))
            return
        finally:
            watching.cancel()
        await exchange.answer(200, protocol.encode_payload(packets).encode())

    async def _post(self, exchange: _Exchange, connection: Connection) -> None:
        if connection.posting:
            connection.close(CloseReason.TRANSPORT_ERROR)
            await exchange.refuse(Refusal.of(ErrorCode.BAD_REQUEST))
            return
        connection.posting = True
        try:
            try:
                body = await exchange.read_body(self._handshake.options.max_bytes)
            except _BodyCutOffError:
                connection.close(CloseReason.TRANSPORT_CLOSE)
                return
            except _BodyTooLargeError:
                connection.close(CloseReason.TRANSPORT_ERROR)
                await exchange.answer(413, b"")
                return
            if connection.state is State.CLOSED:
                await exchange.refuse(Refusal.of(ErrorCode.SESSION_UNKNOWN))
                return
            try:
                throttled_out = await _receive_payload(connection, body)
            except (InvalidPacketError, UnicodeDecodeError):
                connection.close(CloseReason.TRANSPORT_ERROR)
                await exchange.refuse(Refusal.of(ErrorCode.BAD_REQUEST))
                return
        finally:
            connection.posting = False
        if throttled_out:
            await exchange.refuse(Refusal.with_problem(errors.RATE_LIMITED, self._handshake.options.path))
        else:
            await exchange.answer(200, b"ok", content_type=b"text/html")


async def _receive_payload(connection: Connection, body: bytes) -> bool:
    """Process the packets of a POST at the rate that the client may send. Return whether the client was disconnected.

    Raises:
        InvalidPacketError: a packet is invalid. The packets before it may have been processed.
        UnicodeDecodeError: the payload is not UTF-8.
    """
    intake, at, size = connection.intake, 0, len(body)
    parts = protocol.split_payload(body.decode())
    while not connection.closed:
        count = intake.admit(size, now_s := asyncio.get_running_loop().time())
        size = 0
        if count == 0:
            if not await connection.throttle(intake.delay_s(now_s)):
                return True
            continue
        packets = [protocol.parse_packet(part) for part in parts[at : at + count]]
        intake.spend(len(packets), 0, now_s)
        for packet in packets:
            connection.receive(action_of(Source.POST, packet), packet.data)
        at += count
        await connection.wait_for_inbox_space()
        if at >= len(parts):
            break
        await asyncio.sleep(0)
    return False


async def _close_when_disconnected(exchange: _Exchange, connection: Connection) -> None:
    """Close the connection if the client disconnects during its poll."""
    await exchange.until_disconnected()
    connection.close(CloseReason.TRANSPORT_CLOSE)
