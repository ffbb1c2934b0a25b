"""Put a reconnecting client back into the rooms of its last session, on any gateway.

The official client sends the private id (`pid`) of its last session when it reconnects. It gets the events after the
position that it sends. If it sends none, it gets the events after the last one that its old gateway wrote to it.
"""

from collections.abc import Callable, Mapping

from gifchat_contracts import socket_events
from gifchat_contracts.errors import Refused
from gifchat_contracts.events import body
from gifchat_contracts.ids import Pid, RoomId, UserId
from gifchat_contracts.position import Position
from gifchat_realtime_gateway.domain.saved_session import SavedSession
from gifchat_realtime_gateway.domain.session import Session
from gifchat_realtime_gateway.ports import Nodes, SavedSessions, Sockets
from gifchat_realtime_gateway.use_cases.join_room import JoinRoom


class RestoreSession:
    """Restores sessions that `SaveSessions` saved."""

    def __init__(self, saved: SavedSessions, nodes: Nodes, join: JoinRoom, sockets: Sockets) -> None:
        self._saved = saved
        self._nodes = nodes
        self._join = join
        self._sockets = sockets

    async def take(self, pid: Pid, user_id: UserId, *, guest: bool) -> SavedSession | None:
        """Take the saved session with this private id. Return None if this user cannot restore it."""
        saved = await self._saved.take(pid, user_id, guest=guest)
        # If the old gateway died first, the session can be restored only until other nodes forget that gateway.
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
        """Put the session into the saved rooms. `positions` holds the positions that the client sent.

        `refuse` is called with the reason for each room that refuses the session. The client may try to join it.
        """
        for room_id, room in saved.rooms.items():
            seen = positions.get(room_id, room.position)
            try:
                joined = await self._join.rejoin(session, room_id, room.admitted, seen)
            except Refused as refusal:
                refuse(room_id, refusal)
                continue
            # No `await` since the session joined the room's group, so missed events precede live ones.
            if seen is not None and joined.recovered:
                for frame in joined.recent:
                    self._sockets.deliver([session.sid], frame.body)
            else:
                resync = {"room": room_id, "position": joined.position.as_json()}
                self._sockets.deliver([session.sid], body(socket_events.RESYNC, resync))
