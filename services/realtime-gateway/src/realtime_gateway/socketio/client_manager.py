"""Who is connected in which namespace, and the one way by which events are written to many of them.

python-socketio's own manager makes a task for each recipient of an event; its Redis managers publish every event to
every node. Here an event comes ready from a room's channel and is put into each recipient's queue as it is.
"""

from collections.abc import Iterable
from typing import Any

from engineio.packet import MESSAGE, Packet
from socketio.async_manager import AsyncManager

from realtime_gateway import metrics
from room_contracts.socket_events import CHAT_NAMESPACE, LOBBY_NAMESPACE

_EVENT = "2"


class ClientManager(AsyncManager):
    """`ports.Sockets`."""

    server: Any

    def deliver(self, sids: Iterable[str], body: bytes) -> None:
        """See `ports.Sockets`."""
        members = self.rooms.get(CHAT_NAMESPACE, {}).get(None, {})
        self._write(CHAT_NAMESPACE, body, (members.get(sid) for sid in sids))

    def deliver_to_lobby(self, body: bytes) -> None:
        """See `ports.Sockets`."""
        members = self.rooms.get(LOBBY_NAMESPACE, {}).get(None, {})
        self._write(LOBBY_NAMESPACE, body, members.values())

    def _write(self, namespace: str, body: bytes, eio_sids: Iterable[Any]) -> None:
        packet = Packet(MESSAGE, f"{_EVENT}{namespace},{body.decode(errors='replace')}")  # type: ignore[no-untyped-call]
        connections = self.server.eio.sockets
        written = 0
        for eio_sid in eio_sids:
            connection = connections.get(eio_sid)
            if connection is not None and not connection.closed:
                connection.queue.put_nowait(packet)
                written += 1
        metrics.DELIVERIES.inc(written)

    def connections(self) -> list[str]:
        """See `use_cases.drain_node.Connections`."""
        return list(self.server.eio.sockets)

    async def close_connection(self, connection: str) -> None:
        """See `use_cases.drain_node.Connections`.

        On the Engine.IO level: after a Socket.IO DISCONNECT the official client does not come back by itself.
        """
        socket = self.server.eio.sockets.get(connection)
        if socket is None or socket.closed:
            return
        await socket.close(wait=False, reason=self.server.reason.SERVER_DISCONNECT)
        # The writer of a WebSocket ends only when it is told so.
        socket.queue.put_nowait(None)
