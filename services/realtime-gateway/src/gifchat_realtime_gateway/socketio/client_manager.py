"""Write events to the sessions of this node.

python-socketio's own manager creates a task for each recipient of an event. Its Redis managers publish every event to
every node. Here an event arrives already encoded on a room's channel and is written unchanged.
"""

from collections.abc import Collection, Iterable

from gifchat_contracts.socket_events import CHAT_NAMESPACE, DEMO_NAMESPACE, LOBBY_NAMESPACE
from gifchat_realtime_gateway import metrics
from gifchat_realtime_gateway.engine.connection import CloseReason, Connection
from gifchat_realtime_gateway.engine.fan_out import FlushScheduler, Group, write_to
from gifchat_realtime_gateway.engine.relay import Relay, RelayedId
from gifchat_realtime_gateway.engine.server import EngineServer
from gifchat_realtime_gateway.engine.websocket import CloseCode, text_frame
from gifchat_realtime_gateway.socketio.overrides import SessionTable

_MESSAGE_WITH_EVENT = b"42"
_CHAT_EVENT = b"%b%b," % (_MESSAGE_WITH_EVENT, CHAT_NAMESPACE.encode())


def _utf8(body: bytes) -> bytes:
    """Return `body` with invalid UTF-8 replaced. One bad event must not hold up the next ones."""
    return body if body.isascii() else body.decode(errors="replace").encode()


class RoomGroup:
    """Implements `domain.hosted_room.Group` with the engine's group."""

    __slots__ = ("_connections", "_group", "_manager")

    def __init__(self, manager: "ClientManager") -> None:
        self._manager = manager
        self._group = Group(manager.flush_scheduler, deflates=manager.server.eio.options.deflate)
        self._connections: dict[str, Connection] = {}

    def add(self, sid: str) -> None:
        connection = self._manager.connection_of(sid)
        if connection is not None:
            self._connections[sid] = connection
            # A rejoining session already received the queued packets in its ack.
            self._group.discard(connection)
            self._group.add(connection)

    def discard(self, sid: str) -> None:
        connection = self._connections.pop(sid, None)
        if connection is not None:
            self._group.discard(connection)

    def send(self, body: bytes, exclude: Collection[str] = ()) -> None:
        metrics.DELIVERIES.count += len(self._connections)
        excluded = [self._connections[sid] for sid in exclude if sid in self._connections] if exclude else ()
        self._group.send(_CHAT_EVENT + _utf8(body), excluded)


class ClientManager(SessionTable):
    """Implements `ports.Sockets` as a python-socketio client manager."""

    def __init__(self, relay: Relay | None = None) -> None:
        super().__init__()
        self._relay = relay
        self.flush_scheduler = FlushScheduler()

    def deliver(self, sids: Iterable[str], body: bytes) -> None:
        self._write(CHAT_NAMESPACE, body, sids)

    def group(self) -> "RoomGroup":
        return RoomGroup(self)

    def deliver_to_lobby(self, body: bytes) -> None:
        self.broadcast(LOBBY_NAMESPACE, body)

    def connection_of(self, sid: str) -> Connection | None:
        """Return the connection of a session in `/chat`, or None if the session has ended."""
        return self._engine.connections.get(self.sessions(CHAT_NAMESPACE).get(sid, ""))

    def broadcast(self, namespace: str, body: bytes) -> None:
        """Write one event to every session of a namespace."""
        self._write(namespace, body, self.sessions(namespace))

    def connections(self) -> list[str]:
        return [*self._engine.connections, *(self._relay.relayed() if self._relay else ())]

    async def close_connection(self, connection: str) -> None:
        """See `use_cases.drain_node.Connections`.

        Closes the Engine.IO connection. After a Socket.IO DISCONNECT the official client would not reconnect by itself.
        """
        found = self._engine.find(connection)
        if found is not None:
            found.close(CloseReason.SERVER)
        elif self._relay is not None:
            self._relay.close(RelayedId(connection))

    def with_sessions(self) -> list[tuple[str, str]]:
        """See `use_cases.close_revoked.SessionConnections`."""
        found = self._engine.connections.items()
        return [(sid, connection.session_id) for sid, connection in found if connection.session_id is not None]

    def close_revoked(self, connection: str) -> None:
        """See `use_cases.close_revoked.SessionConnections`."""
        found = self._engine.find(connection)
        if found is not None:
            found.close(CloseReason.SESSION_REVOKED, CloseCode.SESSION_REVOKED)

    @property
    def _engine(self) -> EngineServer:
        return self.server.eio

    def _write(self, namespace: str, body: bytes, sids: Iterable[str]) -> None:
        sessions, connections = self.sessions(namespace), self._engine.connections
        found = [connections.get(sessions.get(sid, "")) for sid in sids]
        # Packets do not name the main namespace.
        where = "" if namespace == DEMO_NAMESPACE else f"{namespace},"
        packet = _MESSAGE_WITH_EVENT + where.encode() + _utf8(body)
        metrics.DELIVERIES.count += write_to([each for each in found if each is not None], text_frame(packet), [packet])
