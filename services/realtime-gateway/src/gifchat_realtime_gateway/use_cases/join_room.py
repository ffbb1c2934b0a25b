"""Join a room: take a seat, then get the missed events, without a gap between past and live ones.

Host the room, which subscribes to its channel and reads the end of its log. Take the seat. Collect what the client has
not seen. Then add the client to the room's audience before awaiting anything else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from gifchat_contracts import errors, limits
from gifchat_contracts.codec import Frame
from gifchat_contracts.errors import Refused
from gifchat_contracts.events import RoomPayload, timestamp
from gifchat_contracts.ids import RoomId
from gifchat_contracts.position import Position
from gifchat_contracts.socket_events import Join
from gifchat_realtime_gateway import metrics
from gifchat_realtime_gateway.domain.hosted_room import HostedRoom
from gifchat_realtime_gateway.domain.recovery import Recovered
from gifchat_realtime_gateway.domain.room_record import RoomRecord
from gifchat_realtime_gateway.domain.session import Admitted, Session
from gifchat_realtime_gateway.ports import (
    FeedUnavailableError,
    HistoryUnavailableError,
    Seats,
    SeatsUnavailableError,
    Signatures,
)
from gifchat_realtime_gateway.use_cases.announce_presence import AnnouncePresence
from gifchat_realtime_gateway.use_cases.catch_up import CatchUp
from gifchat_realtime_gateway.use_cases.host_rooms import HostRooms
from gifchat_realtime_gateway.use_cases.leave_room import LeaveRoom
from gifchat_realtime_gateway.use_cases.limit_seats import LimitSeats

_ADMISSIONS = {
    outcome: metrics.ADMISSIONS.labels(outcome) for outcome in ("admitted", "room_full", "recovering", "ticket_used")
}
_RECOVERED, _NEWEST = metrics.JOINS.labels("recovered"), metrics.JOINS.labels("newest")


@dataclass(frozen=True, slots=True)
class Joined:
    """What an admitted client receives."""

    room: RoomPayload
    position: Position
    recovered: bool
    """Whether `recent` is all that the client missed. If not, it is the newest page and replaces the client's list."""
    recent: list[Frame]
    occupancy: int
    membership: str


@dataclass(frozen=True, eq=False)
class JoinRoom:
    """Admits sessions to rooms."""

    hosts: HostRooms
    rooms: Mapping[RoomId, HostedRoom]
    seats: Seats
    signatures: Signatures
    catch_up: CatchUp
    announce: AnnouncePresence
    leave: LeaveRoom
    limit_seats: LimitSeats
    clock: Callable[[], datetime]

    async def join(self, session: Session, request: Join) -> Joined:
        """Admit the session. A session that is already in the room keeps its seat and gets what it missed.

        Raises:
            Refused: `ROOM_NOT_FOUND`, `BANNED`, `KICKED`, `PASSWORD_REQUIRED`, `TICKET_INVALID`, `TICKET_EXPIRED`,
                `TICKET_USED`, `ROOM_FULL`, `RECOVERING`, `RATE_LIMITED`, `ADMISSION_UNAVAILABLE`, `UNAVAILABLE`,
                `NOT_A_MEMBER`, `TOO_MANY_SEATS`.
        """
        return await self._enter(session, request.room_id, request.position, request.ticket, None)

    def must_open(self, room_id: RoomId) -> bool:
        """Return whether joining this room needs requests to rooms-api."""
        return self.hosts.must_open(room_id)

    async def rejoin(self, session: Session, room_id: RoomId, before: Admitted, seen: Position | None) -> Joined:
        """Admit a session whose client was admitted `before`. Access is checked again if the password has changed.

        Raises:
            Refused: like `join`. `KICKED` also if the user was kicked after `before`.
        """
        return await self._enter(session, room_id, seen, None, before)

    async def _enter(
        self, session: Session, room_id: RoomId, seen: Position | None, ticket: str | None, before: Admitted | None
    ) -> Joined:
        try:
            room = await self.hosts.host(room_id)
            record = await self.hosts.record(room)
            if room_id not in session.rooms:
                await self._admit(session, room, record, ticket, before)
            return await self._let_in(session, room, seen)
        except SeatsUnavailableError as error:
            raise Refused(errors.ADMISSION_UNAVAILABLE, detail=str(error)) from error
        except (FeedUnavailableError, HistoryUnavailableError) as error:
            raise Refused(errors.UNAVAILABLE, detail=str(error)) from error

    async def _admit(
        self, session: Session, room: HostedRoom, record: RoomRecord, ticket: str | None, before: Admitted | None
    ) -> None:
        if len(session.rooms) >= limits.ROOMS_OF_A_SESSION:
            raise Refused(errors.RATE_LIMITED, detail=f"a session is in at most {limits.ROOMS_OF_A_SESSION} rooms")
        if record.banned(session.who.user_id, self.clock()):
            raise Refused(errors.BANNED)
        kicked_until = record.kicked_until.get(session.who.user_id)
        if kicked_until is not None and kicked_until > self.clock():
            raise Refused(errors.KICKED, detail=f"The kick ends at {timestamp(kicked_until)}.")
        if before is not None and record.kicked_since(session.who.user_id, before.at):
            raise Refused(errors.KICKED)
        if before is not None and before.access_version == record.access_version:
            ticket_id = None
        else:
            ticket_id = await self._check_access(session, room, record, ticket)
        if session.who.user_id == record.owner_id:
            await self._take_seat(session, room, record, ticket_id, max_members=None)
            return
        await self.limit_seats.take(session, room.room_id)
        try:
            await self._take_seat(session, room, record, ticket_id, max_members=record.max_members)
        finally:
            if room.room_id not in session.rooms:
                self.limit_seats.give_back(session, room.room_id)

    async def _take_seat(
        self,
        session: Session,
        room: HostedRoom,
        record: RoomRecord,
        ticket_id: str | None,
        *,
        max_members: int | None,
    ) -> None:
        admission = await self.seats.admit(room.room_id, session.who, max_members=max_members, ticket_id=ticket_id)
        _ADMISSIONS[admission.outcome].inc()
        match admission.outcome:
            case "room_full":
                raise Refused(errors.ROOM_FULL)
            case "recovering":
                raise Refused(errors.RECOVERING, admission.retry_after_s)
            case "ticket_used":
                raise Refused(errors.TICKET_USED)
            case "admitted":
                pass
        room.occupancy = admission.occupancy
        if not session.connected or self.rooms.get(room.room_id) is not room:
            await self.leave.give_back(session, room.room_id)
            raise Refused(errors.UNAVAILABLE)
        session.enter(room.room_id, Admitted(self.clock(), record.access_version))
        if admission.arrived:
            await self.announce.arrived(room.room_id, session.who, admission.occupancy)

    async def _check_access(
        self, session: Session, room: HostedRoom, record: RoomRecord, token: str | None
    ) -> str | None:
        """Return the id of the ticket to use up, or None if the user needs no ticket."""
        if token is not None:
            ticket = self.signatures.ticket_of(token)
            wanted = (room.room_id, session.who.user_id, record.access_version)
            kicked = record.kicked_since(session.who.user_id, ticket.issued_at)
            if kicked or (ticket.room_id, ticket.user_id, ticket.access_version) != wanted:
                raise Refused(errors.TICKET_INVALID)
            return ticket.ticket_id
        user_id = session.who.user_id
        if not record.room["private"] or user_id == record.owner_id:
            return None
        grant = await self.seats.grant(room.room_id, user_id)
        if grant is None or not grant.valid(record.access_version, record.kicked_at.get(user_id)):
            raise Refused(errors.PASSWORD_REQUIRED)
        return None

    async def _let_in(self, session: Session, room: HostedRoom, seen: Position | None) -> Joined:
        try:
            found = await self.catch_up.collect(room, seen)
        except BaseException:
            if session not in room.audience.sessions_of(session.who.user_id):
                await self.leave.leave(session, room.room_id)
            raise
        if room.record.banned(session.who.user_id, self.clock()):
            await self.leave.leave(session, room.room_id)
            raise Refused(errors.BANNED)
        # No `await` below this line: the session must get the next event that the room receives.
        if room.room_id not in session.rooms:
            raise Refused(errors.UNAVAILABLE if session.connected else errors.NOT_A_MEMBER)
        if not self.seats.holds(room.room_id, session.who.user_id):
            # The seat was taken away during the read, by a kick, an eviction or the removal of the room. They skip
            # sessions that are not in the audience yet.
            room.audience.discard(session)
            session.leave(room.room_id)
            raise Refused(errors.UNAVAILABLE)
        room.audience.add(session)
        (_RECOVERED if isinstance(found, Recovered) else _NEWEST).inc()
        return Joined(
            room={**room.record.room, "members": room.occupancy},
            position=room.stream.position,
            recovered=isinstance(found, Recovered),
            recent=list(found.frames),
            occupancy=room.occupancy,
            # The session's access version, not the room's: the user may not have entered the newest password.
            membership=self.signatures.membership(
                room.room_id, session.who.user_id, session.admissions[room.room_id].access_version
            ),
        )
