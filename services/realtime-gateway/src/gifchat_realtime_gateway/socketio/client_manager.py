"""Who is connected in which namespace, and the one way by which events are written to many of them.

python-socketio's own manager makes a task for each recipient of an event, and looks through every room of a namespace
when a client leaves; its Redis managers publish every event to every node. Here an event comes ready from a room's
channel and is written as it is. Rooms of python-socketio's kind are not used, so a session is one entry.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from socketio.async_manager import AsyncManager

from gifchat_contracts.socket_events import CHAT_NAMESPACE, DEMO_NAMESPACE, LOBBY_NAMESPACE
from gifchat_realtime_gateway import metrics
from gifchat_realtime_gateway.engine.connection import CloseReason, Connection
from gifchat_realtime_gateway.engine.fan_out import FlushScheduler, Group, write_to
from gifchat_realtime_gateway.engine.relay import Relay, RelayedId
from gifchat_realtime_gateway.engine.server import EngineServer
from gifchat_realtime_gateway.engine.websocket import text_frame

_MESSAGE_WITH_EVENT = b"42"
_CHAT_EVENT = b"%b%b," % (_MESSAGE_WITH_EVENT, CHAT_NAMESPACE.encode())


def _utf8(body: bytes) -> bytes:
    """Never raises: what follows a body that is no UTF-8 is not held up by it."""
    return body if body.isascii() else body.decode(errors="replace").encode()


class RoomGroup:
    """`domain.hosted_room.Group` on the engine's group."""

    __slots__ = ("_connections", "_group", "_manager")

    def __init__(self, manager: "ClientManager") -> None:
        self._manager = manager
        self._group = Group(manager.flush_scheduler, deflates=manager.server.eio.deflate)
        self._connections: dict[str, Connection] = {}

    def add(self, sid: str) -> None:
        """See `domain.hosted_room.Group`."""
        connection = self._manager.connection_of(sid)
        if connection is not None:
            self._connections[sid] = connection
            # Who comes anew has been given what waits, in the answer to its join.
            self._group.discard(connection)
            self._group.add(connection)

    def discard(self, sid: str) -> None:
        """See `domain.hosted_room.Group`."""
        connection = self._connections.pop(sid, None)
        if connection is not None:
            self._group.discard(connection)

    def send(self, body: bytes, exclude: Collection[str] = ()) -> None:
        """See `domain.hosted_room.Group`."""
        metrics.DELIVERIES.count += len(self._connections)
        left_out = [self._connections[sid] for sid in exclude if sid in self._connections] if exclude else ()
        self._group.send(_CHAT_EVENT + _utf8(body), left_out)


class ClientManager(AsyncManager):
    """`ports.Sockets`."""

    server: Any

    def __init__(self, relay: Relay | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._relay = relay
        self.flush_scheduler = FlushScheduler()

    def deliver(self, sids: Iterable[str], body: bytes) -> None:
        """See `ports.Sockets`."""
        self._write(CHAT_NAMESPACE, body, list(self._connections_of(CHAT_NAMESPACE, sids)))

    def group(self) -> "RoomGroup":
        """See `ports.Sockets`."""
        return RoomGroup(self)

    def deliver_to_lobby(self, body: bytes) -> None:
        """See `ports.Sockets`."""
        self.broadcast(LOBBY_NAMESPACE, body)

    def connection_of(self, sid: str) -> Connection | None:
        """The connection of a session in `/chat`."""
        everybody = self.rooms.get(CHAT_NAMESPACE, {}).get(None, {})
        return self._engine.connections.get(everybody.get(sid))

    def broadcast(self, namespace: str, body: bytes) -> None:
        """Write one event to every session of a namespace."""
        everybody = list(self.rooms.get(namespace, {}).get(None, {}))
        self._write(namespace, body, list(self._connections_of(namespace, everybody)))

    def connections(self) -> list[str]:
        """See `use_cases.drain_node.Connections`."""
        return [*self._engine.connections, *(self._relay.relayed() if self._relay else ())]

    async def close_connection(self, connection: str) -> None:
        """See `use_cases.drain_node.Connections`.

        On the Engine.IO level: after a Socket.IO DISCONNECT the official client does not come back by itself.
        """
        found = self._engine.find(connection)
        if found is not None:
            found.close(CloseReason.SERVER)
        elif self._relay is not None:
            self._relay.close(RelayedId(connection))

    # ------------------------------------------------------------------------- what python-socketio calls of us

    def basic_enter_room(self, sid: str, namespace: str, room: str | None, eio_sid: str | None = None) -> None:
        """A session is in the namespace (room None), and in its own room without an entry for it."""
        if room != sid:
            super().basic_enter_room(sid, namespace, room, eio_sid=eio_sid)  # type: ignore[no-untyped-call]

    def pre_disconnect(self, sid: str, namespace: str) -> str | None:
        """A session is about to end. In a set: when a crowd leaves, thousands are."""
        self.pending_disconnect.setdefault(namespace, set()).add(sid)
        found: str | None = self.eio_sid_from_sid(sid, namespace)  # type: ignore[no-untyped-call]
        return found

    def basic_disconnect(self, sid: str, namespace: str, **_more: Any) -> None:
        """Forget a session, without a look at any other."""
        self.basic_leave_room(sid, namespace, None)  # type: ignore[no-untyped-call]
        self.callbacks.pop(sid, None)
        for pending in (self.pending_connect, self.pending_disconnect):
            if sid in pending.get(namespace, ()):
                pending[namespace].remove(sid)
                if not pending[namespace]:
                    del pending[namespace]

    def get_participants(self, namespace: str, room: str | None) -> Iterator[tuple[str, str]]:
        """The sessions in a room; a sid is the room of that session."""
        everybody = self.rooms.get(namespace, {}).get(None, {})
        if room is None:
            yield from list(everybody.items())
        elif room in everybody:
            yield room, everybody[room]

    # ----------------------------------------------------------------------------------------------------- ours

    @property
    def _engine(self) -> EngineServer:
        engine: EngineServer = self.server.eio
        return engine

    def _connections_of(self, namespace: str, sids: Iterable[str]) -> Iterator[Connection]:
        everybody = self.rooms.get(namespace, {}).get(None, {})
        connections = self._engine.connections
        for sid in sids:
            connection = connections.get(everybody.get(sid))
            if connection is not None:
                yield connection

    @staticmethod
    def _write(namespace: str, body: bytes, connections: list[Connection]) -> None:
        # The main namespace is not named.
        where = "" if namespace == DEMO_NAMESPACE else f"{namespace},"
        packet = _MESSAGE_WITH_EVENT + where.encode() + _utf8(body)
        metrics.DELIVERIES.count += write_to(connections, text_frame(packet), [packet])
