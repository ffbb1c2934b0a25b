"""Take a session out of a room. Its seat is kept for a grace period, so a quick return goes unnoticed."""

import asyncio
from collections.abc import Mapping

import structlog

from gifchat_contracts.ids import RoomId
from gifchat_realtime_gateway.domain.hosted_room import HostedRoom
from gifchat_realtime_gateway.domain.session import Session
from gifchat_realtime_gateway.ports import Seats, SeatsUnavailableError
from gifchat_realtime_gateway.use_cases.announce_presence import AnnouncePresence

_log = structlog.get_logger(__name__)


class LeaveRoom:
    """Takes sessions out of rooms, on request and after their connection closed."""

    def __init__(self, seats: Seats, rooms: Mapping[RoomId, HostedRoom], announce: AnnouncePresence) -> None:
        self._seats = seats
        self._rooms = rooms
        self._announce = announce

    async def leave(self, session: Session, room_id: RoomId) -> None:
        """Take the session out; a no-op if it is not in the room. If Redis is down, a renewal settles it later."""
        if room_id not in session.rooms:
            return
        session.leave(room_id)
        room = self._rooms.get(room_id)
        if room is not None:
            room.audience.discard(session)
        await self.give_back(session, room_id)

    async def give_back(self, session: Session, room_id: RoomId) -> None:
        """Release the session's seat."""
        try:
            departure = await self._seats.leave(room_id, session.who.user_id, guest=session.guest)
        except SeatsUnavailableError as error:
            _log.warning("leave_not_recorded", room=room_id, error=str(error))
            return
        if departure.outcome == "gone":
            await self._announce.left(room_id, session.who, departure.occupancy)

    async def disconnected(self, session: Session) -> None:
        """Take the session out of every room, because its connection closed."""
        session.connected = False
        await asyncio.gather(*(self.leave(session, room_id) for room_id in list(session.rooms)))
