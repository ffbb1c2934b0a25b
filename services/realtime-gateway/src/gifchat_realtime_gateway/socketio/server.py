"""The Socket.IO server: python-socketio on our engine, with our client manager, kept to the published protocol."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import Any

import socketio
import structlog
from socketio import packet as packets
from starlette.requests import cookie_parser

from gifchat_contracts import limits
from gifchat_contracts.identity import SESSION_COOKIE
from gifchat_realtime_gateway.domain.session import Budget
from gifchat_realtime_gateway.engine.relay import Relay
from gifchat_realtime_gateway.engine.server import EngineServer
from gifchat_realtime_gateway.ports import Signatures
from gifchat_realtime_gateway.settings import Settings
from gifchat_realtime_gateway.socketio.client_manager import ClientManager
from gifchat_realtime_gateway.socketio.packet import Packet, event_name

RESERVED_EVENTS = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)
"""Event names that clients may not send, as in the published server. They would call the connection's own handlers."""
GOODBYE = "client namespace disconnect"
"""Why a session ended whose client left the namespace: the published server's words. A lost transport is no goodbye."""
_BUDGET = "gifchat.budget"
_OPENS_OR_CLOSES = ("0", "1")
_NAMESPACE = re.compile(r"[0-6](?:[0-9]+-)?(/[^,]*)?")

_log = structlog.get_logger(__name__)


class ChatServer(socketio.AsyncServer):
    """python-socketio's server; what it does otherwise than the protocol says (Socket.IO 5) is put right here."""

    eio: EngineServer

    def _engineio_server_class(self) -> type[EngineServer]:
        return EngineServer

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, serializer=Packet, **options)  # type: ignore[no-untyped-call]
        self._held_back: dict[str, list[str | bytes]] = {}
        """By connection that opens a namespace: what has to wait for the answer to that."""
        self.pids: dict[str, str] = {}
        """Private ids to send in the answer to CONNECT, by the sid of the new session."""
        self.on_opened: dict[str, Callable[[str], Awaitable[None]]] = {}
        """By namespace: called with the sid after the answer to CONNECT and before the client's next packet."""

    async def _handle_eio_message(  # type: ignore[override]
        self, eio_sid: str, data: str | bytes
    ) -> None:
        waiting = self._binary_packet.get(eio_sid)
        if waiting is not None:
            if isinstance(data, str):
                raise ValueError("text where an attachment is expected")
            if sum(map(len, waiting.attachments)) + len(data) > limits.SOCKET_MESSAGE_MAX_BYTES:
                raise ValueError("an event with its attachments is not larger than any other")
            if waiting.add_attachment(data):
                del self._binary_packet[eio_sid]
                await self._handle_packet(eio_sid, waiting)
            return
        self._spend(eio_sid, data)
        if not data:
            raise ValueError("an empty packet")
        packet = Packet(encoded_packet=data)  # type: ignore[no-untyped-call]
        if packet.packet_type not in (packets.BINARY_EVENT, packets.BINARY_ACK):
            await self._handle_packet(eio_sid, packet)
        elif self._connected(eio_sid, packet.namespace):
            self._binary_packet[eio_sid] = packet
        else:
            raise ValueError("a packet with attachments in a namespace that is not connected")

    async def _handle_packet(self, eio_sid: str, packet: Packet) -> None:
        match packet.packet_type:
            case packets.EVENT | packets.BINARY_EVENT:
                await self._handle_event(eio_sid, packet.namespace, packet.id, packet.data)
            case packets.CONNECT:
                await self._handle_connect(eio_sid, packet.namespace, packet.data)
            case packets.DISCONNECT:
                await self._handle_disconnect(eio_sid, packet.namespace, GOODBYE)
            case _:
                await self._handle_ack(eio_sid, packet.namespace, packet.id, packet.data)

    async def _handle_connect(self, eio_sid: Any, namespace: Any, data: Any) -> None:
        if (namespace or "/") not in self.handlers:
            error = {"message": "Invalid namespace"}
            packet = Packet(packets.CONNECT_ERROR, data=error, namespace=namespace)  # type: ignore[no-untyped-call]
            await self._send_packet(eio_sid, packet)
            return
        if self._connected(eio_sid, namespace):
            raise ValueError("a namespace that is connected already")
        held_back = self._held_back[eio_sid] = []
        try:
            await super()._handle_connect(eio_sid, namespace, data)  # type: ignore[no-untyped-call]
        finally:
            del self._held_back[eio_sid]
        connected = self._connected(eio_sid, namespace)
        if connected:
            self.eio.namespace_opened(eio_sid)
        for message in held_back if connected else _without(namespace or "/", held_back):
            await self.eio.send(eio_sid, message)
        if connected and (on_opened := self.on_opened.get(namespace or "/")) is not None:
            await on_opened(self.manager.sid_from_eio_sid(eio_sid, namespace or "/"))

    async def _handle_disconnect(self, eio_sid: Any, namespace: Any, reason: Any = None) -> None:
        if reason == GOODBYE:
            self._check_admitted(eio_sid)
        await super()._handle_disconnect(eio_sid, namespace, reason)  # type: ignore[no-untyped-call]

    async def _handle_event(self, eio_sid: Any, namespace: Any, id: Any, data: Any) -> None:  # noqa: A002
        if data[0] in RESERVED_EVENTS:
            raise ValueError(f"{data[0]} is no event of a client's")
        namespace = namespace or "/"
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
        if sid is None:
            raise ValueError("an event in a namespace that is not connected")
        handler = self.handlers[namespace].get(event_name(data[0]))
        if handler is None or not self.manager.is_connected(sid, namespace):
            return
        # Called here, where python-socketio would pass it through three more coroutines.
        answer = await _called(handler, sid, *data[1:])
        if id is not None and answer is not self.not_handled:
            answers = [] if answer is None else list(answer) if isinstance(answer, tuple) else [answer]
            await self._send_packet(eio_sid, Packet(packets.ACK, answers, namespace, id))  # type: ignore[no-untyped-call]

    async def _handle_ack(self, eio_sid: Any, namespace: Any, id: Any, data: Any) -> None:  # noqa: A002
        self._check_admitted(eio_sid)
        await super()._handle_ack(eio_sid, namespace, id, data)  # type: ignore[no-untyped-call]

    async def _trigger_event(self, event: Any, namespace: Any, *arguments: Any) -> Any:
        handler = self.handlers[namespace].get(event)
        if handler is None:
            return self.not_handled
        if event != "disconnect":
            return await _called(handler, *arguments)
        try:
            return await _called(handler, *arguments)
        except Exception:
            # The boundary of a namespace: the session is forgotten all the same, and the other namespaces are told.
            _log.exception("disconnect_handler_failed", namespace=namespace)

    async def _send_packet(self, eio_sid: Any, pkt: Any) -> None:
        if pkt.packet_type == packets.CONNECT and (pid := self.pids.pop(pkt.data["sid"], None)) is not None:
            pkt.data["pid"] = pid
        encoded = pkt.encode()
        parts = encoded if isinstance(encoded, list) else [encoded]
        held_back = self._held_back.get(eio_sid)
        if held_back is not None and pkt.packet_type not in (packets.CONNECT, packets.CONNECT_ERROR):
            held_back.extend(parts)
            return
        for part in parts:
            await self.eio.send(eio_sid, part)

    async def _send_eio_packet(self, eio_sid: Any, eio_pkt: Any) -> None:
        held_back = self._held_back.get(eio_sid)
        if held_back is None:
            await super()._send_eio_packet(eio_sid, eio_pkt)  # type: ignore[no-untyped-call]
        else:
            held_back.append(eio_pkt.data)

    def _spend(self, eio_sid: str, data: str | bytes) -> None:
        """Every packet costs; one that opens or closes a namespace is refused, an event is answered by its handler."""
        if not budget_of(self.environ[eio_sid]).spend(time.monotonic()) and data[:1] in _OPENS_OR_CLOSES:
            raise ValueError("namespaces opened and closed too fast")

    def _connected(self, eio_sid: str, namespace: str | None) -> bool:
        return self.manager.sid_from_eio_sid(eio_sid, namespace or "/") is not None

    def _check_admitted(self, eio_sid: str) -> None:
        connection = self.eio.find(eio_sid)
        if connection is not None and not connection.has_namespace:
            raise ValueError("the first packet is CONNECT")


async def _called(handler: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    """What it answers. Where something that it waited for was cancelled, and not itself: nothing."""
    try:
        return await handler(*arguments)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return None


def _without(namespace: str, messages: Iterable[str | bytes]) -> Iterator[str | bytes]:
    """The messages of other namespaces; an attachment belongs to the packet before it."""
    dropping = False
    for message in messages:
        if isinstance(message, str):
            found = _NAMESPACE.match(message)
            dropping = namespace == (found[1] if found and found[1] else "/")
        if not dropping:
            yield message


def create_server(
    settings: Settings,
    manager: ClientManager,
    draining: Callable[[], bool],
    signatures: Signatures,
    relay: Relay | None = None,
) -> ChatServer:
    """The server, without handlers.

    One client's events are handled one after the other: a `leave` never overtakes its `join`.
    """
    quiet = logging.getLogger("socketio.server")
    quiet.setLevel(logging.ERROR)
    return ChatServer(
        client_manager=manager,
        async_handlers=False,
        logger=quiet,
        allowed_origins=settings.allowed_origins,
        trusted_proxies=settings.forwarded_allow_ips,
        ping_interval_s=settings.ping_interval,
        ping_timeout_s=settings.ping_timeout,
        max_bytes=limits.SOCKET_MESSAGE_MAX_BYTES,
        draining=draining,
        deflate=settings.message_deflate,
        relay=relay,
        session_of=partial(session_in, signatures),
    )


def budget_of(environ: dict[str, Any]) -> Budget:
    """What the connection may say: the same for all its sessions."""
    budget: Budget = environ.setdefault(_BUDGET, Budget())
    return budget


def address_of(environ: dict[str, Any]) -> str:
    """The client's address, behind the proxies that are trusted."""
    return str(environ["REMOTE_ADDR"])


def session_in(signatures: Signatures, cookies: str) -> str | None:
    """The id of the user's session in a `Cookie` header, parsed as leniently as the pages do; None if invalid."""
    cookie = cookie_parser(cookies).get(SESSION_COOKIE)
    return signatures.session_of(cookie) if cookie else None
