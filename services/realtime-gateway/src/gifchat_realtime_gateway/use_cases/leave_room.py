"""End a session's stay in a room. The seat is kept for its grace: who comes back in time was never away."""

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
    """For a session that says so, and for one whose connection ended."""

    def __init__(self, seats: Seats, rooms: Mapping[RoomId, HostedRoom], announce: AnnouncePresence) -> None:
        self._seats = seats
        self._rooms = rooms
        self._announce = announce

    async def leave(self, session: Session, room_id: RoomId) -> None:
        """Leave; harmless where the session is not in the room. Works while Redis is away: its lease settles it."""
        if room_id not in session.rooms:
            return
        session.leave(room_id)
        room = self._rooms.get(room_id)
        if room is not None:
            room.audience.discard(session)
        await self.give_back(session, room_id)

    async def give_back(self, session: Session, room_id: RoomId) -> None:
        """Give back the seat that was taken for the session."""
        try:
            departure = await self._seats.leave(room_id, session.who.user_id)
        except SeatsUnavailableError as error:
            _log.warning("leave_not_recorded", room=room_id, error=str(error))
            return
        if departure.outcome == "gone":
            await self._announce.left(room_id, session.who, departure.occupancy)

    async def disconnected(self, session: Session) -> None:
        """The connection ended: leave every room."""
        session.connected = False
        await asyncio.gather(*(self.leave(session, room_id) for room_id in list(session.rooms)))
