"""All use of python-socketio's internals. Other modules use only its public API. Its types are in `stubs/socketio/`.

`test_overrides.py` fails if the installed release no longer calls an overridden method or has changed its parameters.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any

import structlog
from socketio import ASGIApp as SocketIOApp
from socketio import AsyncServer
from socketio.async_manager import AsyncManager
from socketio.packet import Packet as LibraryPacket

from gifchat_contracts import limits
from gifchat_contracts.ids import Pid
from gifchat_realtime_gateway.engine.intake import OverspentError
from gifchat_realtime_gateway.engine.server import EngineServer
from gifchat_realtime_gateway.socketio import packet as packets
from gifchat_realtime_gateway.socketio.environ import budget_of
from gifchat_realtime_gateway.socketio.packet import (
    TYPES_WITH_ATTACHMENTS,
    EncodedJson,
    event_name,
    fill_placeholders,
    read_packet,
    to_json,
)

EventHandler = Callable[..., Awaitable[Any]]

__all__ = ["GOODBYE", "RESERVED_EVENTS", "ChatServer", "EventHandler", "Packet", "SessionTable", "SocketIOApp"]

RESERVED_EVENTS = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)
"""Event names that clients may not send, as in the published server. They would call the connection's own handlers."""
GOODBYE = "client namespace disconnect"
"""The reason that the published server gives when a client leaves a namespace."""
_OPENS_OR_CLOSES = ("0", "1")
_NAMESPACE = re.compile(r"[0-6](?:[0-9]+-)?(/[^,]*)?")
_NO_SESSIONS: Mapping[str, str] = {}

_log = structlog.get_logger(__name__)


class _Json:
    """Encodes the JSON of packets. `json.dumps` would create an encoder for each packet."""

    @staticmethod
    def dumps(data: Any, separators: tuple[str, str]) -> str:  # noqa: ARG004 - python-socketio passes what we use
        """Encode like `json.dumps`."""
        return to_json(data)


class Packet(LibraryPacket):
    """A Socket.IO packet that accepts only what the protocol allows clients to send.

    Raises:
        ValueError: the client may not send this packet.
    """

    json = _Json

    @classmethod
    def data_is_binary(cls, data: Any) -> bool:  # noqa: ARG003
        """Return False without searching the data; `encode` detects bytes."""
        return False

    def encode(self) -> str | list[str | bytes]:
        """Return the packet as text. If its data contains bytes, return the text and the attachments.

        Raises:
            TypeError: JSON cannot express the data.
        """
        try:
            return super().encode()
        except TypeError:
            if self.packet_type not in TYPES_WITH_ATTACHMENTS:
                raise
            self.packet_type = TYPES_WITH_ATTACHMENTS[self.packet_type]
            return super().encode()

    def decode(self, encoded_packet: str | bytes) -> int:
        """Read a packet and return how many attachments follow."""
        self.packet_type, self.namespace, self.id, self.data, attachments = read_packet(encoded_packet)
        return attachments

    @classmethod
    def reconstruct_binary(cls, data: Any, attachments: list[bytes]) -> Any:
        """Replace each placeholder in `data` with its attachment."""
        return fill_placeholders(data, attachments)


class SessionTable(AsyncManager):
    """Maps each session to its connection, by namespace.

    python-socketio's own manager searches every room of a namespace when a client leaves. We do not use its rooms, so a
    session is one entry here.
    """

    server: "ChatServer"

    def sessions(self, namespace: str) -> Mapping[str, str]:
        """Return the connection of each session in the namespace, by the session's sid."""
        return self.rooms.get(namespace, {}).get(None, _NO_SESSIONS)

    def basic_enter_room(self, sid: str, namespace: str, room: str | None, eio_sid: str | None = None) -> None:
        """Add a session to the namespace (`room` is None). The session's own room gets no entry."""
        if room != sid:
            super().basic_enter_room(sid, namespace, room, eio_sid=eio_sid)

    def pre_disconnect(self, sid: str, namespace: str) -> str | None:
        """Mark a session that is about to end. Thousands may end at once, so this is a set, not a list."""
        self.pending_disconnect.setdefault(namespace, set()).add(sid)
        return self.eio_sid_from_sid(sid, namespace)

    def basic_disconnect(self, sid: str, namespace: str, **_more: Any) -> None:
        """Forget a session, without searching the others."""
        self.basic_leave_room(sid, namespace, None)
        self.callbacks.pop(sid, None)
        for pending in (self.pending_connect, self.pending_disconnect):
            if sid in pending.get(namespace, ()):
                pending[namespace].remove(sid)
                if not pending[namespace]:
                    del pending[namespace]

    def get_participants(self, namespace: str, room: str | None) -> Iterator[tuple[str, str]]:
        """Yield the sessions of the namespace (`room` is None) or the one session whose sid is `room`."""
        sessions = self.sessions(namespace)
        if room is None:
            yield from list(sessions.items())
        elif room in sessions:
            yield room, sessions[room]


class ChatServer(AsyncServer):
    """python-socketio's server on our engine. It follows the Socket.IO 5 protocol where the library does not."""

    eio: EngineServer
    manager: SessionTable
    _binary_packet: dict[str, Packet]
    """Packets that wait for their attachments, by connection."""

    def __init__(self, **options: Any) -> None:
        super().__init__(serializer=Packet, **options)
        self._held_back: dict[str, list[str | bytes]] = {}
        """Messages that wait for the answer to CONNECT, by connection."""
        self.pids: dict[str, Pid] = {}
        """Private ids to send in the answer to CONNECT, by the sid of the new session."""
        self.on_opened: dict[str, Callable[[str], Awaitable[None]]] = {}
        """Callbacks by namespace, called with the sid after CONNECT is answered, before the client's next packet."""

    # ------------------------------------------------------------------------------------ called by python-socketio

    def _engineio_server_class(self) -> type[EngineServer]:
        return EngineServer

    async def _handle_eio_message(self, eio_sid: str, data: str | bytes) -> None:
        waiting = self._binary_packet.get(eio_sid)
        if waiting is not None:
            if isinstance(data, str):
                raise ValueError("text instead of an attachment")
            if sum(map(len, waiting.attachments)) + len(data) > limits.SOCKET_MESSAGE_MAX_BYTES:
                raise ValueError("the attachments of a packet are too large together")
            if waiting.add_attachment(data):
                del self._binary_packet[eio_sid]
                await self._handle_packet(eio_sid, waiting)
            return
        self._spend(eio_sid, data)
        if not data:
            raise ValueError("an empty packet")
        packet = Packet(encoded_packet=data)
        if packet.packet_type not in (packets.BINARY_EVENT, packets.BINARY_ACK):
            await self._handle_packet(eio_sid, packet)
        elif self._connected(eio_sid, packet.namespace):
            self._binary_packet[eio_sid] = packet
        else:
            raise ValueError("a packet with attachments for a namespace that is not connected")

    async def _trigger_event(self, event: str, namespace: str, *arguments: Any) -> Any:
        """Call the handler of `connect` or `disconnect`. The library's method would call it again after a TypeError."""
        handler = self.handlers[namespace].get(event)
        if handler is None:
            return self.not_handled
        if event != "disconnect":
            return await _called(handler, *arguments)
        try:
            return await _called(handler, *arguments)
        except Exception:
            # Continue: the session ends anyway, and the other namespaces must be told.
            _log.exception("disconnect_handler_failed", namespace=namespace)

    async def _send_packet(self, eio_sid: str, pkt: Packet) -> None:
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

    async def _send_eio_packet(self, eio_sid: str, eio_pkt: Any) -> None:
        held_back = self._held_back.get(eio_sid)
        if held_back is None:
            await super()._send_eio_packet(eio_sid, eio_pkt)
        else:
            held_back.append(eio_pkt.data)

    # ------------------------------------------------------------------------------------------------------- ours

    def charge(self, sid: str, namespace: str, packets: float) -> None:
        """Charge the session's connection for costly work, as for this many packets. Negative numbers are refunds."""
        connection = self.eio.connections.get(self.manager.eio_sid_from_sid(sid, namespace) or "")
        if connection is not None:
            connection.intake.spend(packets, 0, asyncio.get_running_loop().time())

    async def _handle_packet(self, eio_sid: str, packet: Packet) -> None:
        match packet.packet_type:
            case packets.EVENT | packets.BINARY_EVENT:
                await self._event(eio_sid, packet)
            case packets.CONNECT:
                await self._open(eio_sid, packet.namespace, packet.data)
            case packets.DISCONNECT:
                self._check_has_namespace(eio_sid)
                await self._handle_disconnect(eio_sid, packet.namespace, GOODBYE)
            case _:
                self._check_has_namespace(eio_sid)
                sid = self.manager.sid_from_eio_sid(eio_sid, packet.namespace or "/")
                await self.manager.trigger_callback(sid, packet.id, packet.data)

    async def _open(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        """Open a namespace for a connection. Other messages to the client wait until CONNECT is answered."""
        if (namespace or "/") not in self.handlers:
            error = {"message": "Invalid namespace"}
            await self._send_packet(eio_sid, Packet(packets.CONNECT_ERROR, data=error, namespace=namespace))
            return
        if self._connected(eio_sid, namespace):
            raise ValueError("the namespace is connected already")
        held_back = self._held_back[eio_sid] = []
        try:
            await self._handle_connect(eio_sid, namespace, data)
        finally:
            del self._held_back[eio_sid]
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace or "/")
        if sid is not None:
            self.eio.namespace_opened(eio_sid)
        for message in held_back if sid is not None else _without(namespace or "/", held_back):
            await self.eio.send(eio_sid, message)
        if sid is not None and (on_opened := self.on_opened.get(namespace or "/")) is not None:
            await on_opened(sid)

    async def _event(self, eio_sid: str, packet: Packet) -> None:
        """Call the handler of an event. The library's own path goes through four coroutines."""
        name, *arguments = packet.data
        if name in RESERVED_EVENTS:
            raise ValueError(f"clients may not send {name}")
        namespace = packet.namespace or "/"
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
        if sid is None:
            raise ValueError("an event for a namespace that is not connected")
        handler = self.handlers[namespace].get(event_name(name))
        if handler is None or not self.manager.is_connected(sid, namespace):
            return
        answer = await _called(handler, sid, *arguments)
        if packet.id is not None and answer is not self.not_handled:
            await self._send_packet(eio_sid, Packet(packets.ACK, _answers(answer), namespace, packet.id))

    def _spend(self, eio_sid: str, data: str | bytes) -> None:
        """Charge the connection for a packet.

        If the budget is spent, this refuses packets that open or close a namespace. Handlers refuse events themselves.
        """
        if not budget_of(self.environ[eio_sid]).spend(time.monotonic()) and data[:1] in _OPENS_OR_CLOSES:
            raise OverspentError("namespaces opened and closed too fast")

    def _connected(self, eio_sid: str, namespace: str | None) -> bool:
        return self.manager.sid_from_eio_sid(eio_sid, namespace or "/") is not None

    def _check_has_namespace(self, eio_sid: str) -> None:
        connection = self.eio.find(eio_sid)
        if connection is not None and not connection.has_namespace:
            raise ValueError("the first packet must be CONNECT")


async def _called(handler: EventHandler, *arguments: Any) -> Any:
    """Return the handler's result, or None if something it awaited was cancelled but the current task was not."""
    try:
        return await handler(*arguments)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return None


def _answers(answer: Any) -> list[Any] | EncodedJson:
    """Return the data of an ack."""
    if isinstance(answer, EncodedJson):
        return EncodedJson(f"[{answer}]")
    return [] if answer is None else list(answer) if isinstance(answer, tuple) else [answer]


def _without(namespace: str, messages: Iterable[str | bytes]) -> Iterator[str | bytes]:
    """Yield the messages of other namespaces. An attachment belongs to the packet before it."""
    dropping = False
    for message in messages:
        if isinstance(message, str):
            found = _NAMESPACE.match(message)
            dropping = namespace == (found[1] if found and found[1] else "/")
        if not dropping:
            yield message
