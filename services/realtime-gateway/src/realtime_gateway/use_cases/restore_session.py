"""Put a client that comes back into the rooms that its last connection was in, on whichever gateway.

The official client sends the private id (`pid`) of its last session when it connects again. What it missed follows from
its position: the one that it sends, else the one that its last gateway had written to it.
"""

from collections.abc import Callable, Mapping

from realtime_gateway.domain.errors import Refused
from realtime_gateway.domain.saved_session import SavedSession
from realtime_gateway.domain.session import Session
from realtime_gateway.ports import Nodes, SavedSessions, Sockets
from realtime_gateway.use_cases.join_room import JoinRoom
from room_contracts import socket_events
from room_contracts.events import body
from room_contracts.ids import RoomId, UserId
from room_contracts.position import Position


class RestoreSession:
    """Restores what `SaveSessions` saved."""

    def __init__(self, saved: SavedSessions, nodes: Nodes, join: JoinRoom, sockets: Sockets) -> None:
        self._saved = saved
        self._nodes = nodes
        self._join = join
        self._sockets = sockets

    async def take(self, pid: str, user_id: UserId, *, guest: bool) -> SavedSession | None:
        """Return the session with this private id if this user can have it back, once; None if not."""
        saved = await self._saved.take(pid, user_id, guest=guest)
        # A session that never ended is restored as long as its node's seats may be in their grace.
        if saved is None or saved.ended or await self._nodes.remembers(saved.node):
            return saved
        return None

    async def restore(
        self,
        session: Session,
        saved: SavedSession,
        positions: Mapping[RoomId, Position],
        refuse: Callable[[RoomId, Refused], None],
    ) -> None:
        """Put the session into the saved rooms; `positions` are what the client has seen, where it says so.

        `refuse` is called for each room that stays closed, with the reason: the client may try to join it.
        """
        for room_id, room in saved.rooms.items():
            seen = positions.get(room_id, room.position)
            try:
                joined = await self._join.rejoin(session, room_id, room.admitted, seen)
            except Refused as refusal:
                refuse(room_id, refusal)
                continue
            # Nothing has been waited for since the session began to hear the room: what it missed comes first.
            if seen is not None and joined.recovered:
                for frame in joined.recent:
                    self._sockets.deliver([session.sid], frame.body)
            else:
                resync = {"room": room_id, "position": joined.position.as_json()}
                self._sockets.deliver([session.sid], body(socket_events.RESYNC, resync))
