"""Enter a room: take a seat, and get what was missed, without a seam between the past and what comes live.

Host the room (hear its channel, then read the end of its log) → take the seat → in one step without waiting: collect
what the client has not seen, and begin to deliver to it. What comes live afterwards follows what it was given.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gifchat_contracts import errors, limits
from gifchat_contracts.codec import Frame
from gifchat_contracts.errors import Refused
from gifchat_contracts.events import RoomPayload
from gifchat_contracts.ids import RoomId
from gifchat_contracts.position import Position
from gifchat_contracts.socket_events import Join
from gifchat_realtime_gateway import metrics
from gifchat_realtime_gateway.domain.hosted_room import HostedRoom
from gifchat_realtime_gateway.domain.recovery import Newest, Recovered, Wanting, newest, recover
from gifchat_realtime_gateway.domain.room_record import RoomRecord
from gifchat_realtime_gateway.domain.session import Admitted, Session
from gifchat_realtime_gateway.ports import (
    FeedUnavailableError,
    HistoryUnavailableError,
    RoomHistory,
    Seats,
    SeatsUnavailableError,
    Signatures,
)
from gifchat_realtime_gateway.use_cases.announce_presence import AnnouncePresence
from gifchat_realtime_gateway.use_cases.host_rooms import HostRooms
from gifchat_realtime_gateway.use_cases.leave_room import LeaveRoom
from gifchat_realtime_gateway.use_cases.repair_rooms import RepairRooms

_ADMISSIONS = {
    outcome: metrics.ADMISSIONS.labels(outcome) for outcome in ("admitted", "room_full", "recovering", "ticket_used")
}
_RECOVERED, _NEWEST = metrics.JOINS.labels("recovered"), metrics.JOINS.labels("newest")


@dataclass(frozen=True, slots=True)
class Joined:
    """What a client gets that was let in."""

    room: RoomPayload
    position: Position
    recovered: bool
    """`recent` is all that was missed; otherwise it is the end of the log, and replaces what the client has."""
    recent: list[Frame]
    occupancy: int
    membership: str


class JoinRoom:
    """Lets sessions in."""

    def __init__(
        self,
        *,
        hosts: HostRooms,
        rooms: Mapping[RoomId, HostedRoom],
        seats: Seats,
        signatures: Signatures,
        history: RoomHistory,
        repair: RepairRooms,
        announce: AnnouncePresence,
        leave: LeaveRoom,
        clock: Callable[[], datetime],
    ) -> None:
        self._hosts = hosts
        self._rooms = rooms
        self._seats = seats
        self._signatures = signatures
        self._history = history
        self._repair = repair
        self._announce = announce
        self._leave = leave
        self._clock = clock
        self._reading: dict[Hashable, asyncio.Task[list[Frame]]] = {}

    async def join(self, session: Session, request: Join) -> Joined:
        """Let the session in, or in again: who is in the room already gets what it missed, and keeps its seat.

        Raises:
            Refused: `ROOM_NOT_FOUND`, `BANNED`, `PASSWORD_REQUIRED`, `TICKET_INVALID`, `TICKET_EXPIRED`, `TICKET_USED`,
                `ROOM_FULL`, `RECOVERING`, `RATE_LIMITED`, `ADMISSION_UNAVAILABLE`, `UNAVAILABLE`.
        """
        return await self._enter(session, request.room_id, request.position, request.ticket, None)

    async def rejoin(self, session: Session, room_id: RoomId, before: Admitted, seen: Position | None) -> Joined:
        """Let in a session whose client was admitted `before`; needs no ticket unless the password has changed.

        Raises:
            Refused: like `join`, and `KICKED`.
        """
        return await self._enter(session, room_id, seen, None, before)

    async def _enter(
        self, session: Session, room_id: RoomId, seen: Position | None, ticket: str | None, before: Admitted | None
    ) -> Joined:
        try:
            room = await self._hosts.host(room_id)
            record = await self._hosts.record(room)
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
        if record.banned(session.who.user_id, self._clock()):
            raise Refused(errors.BANNED)
        if before is not None and record.kicked_since(session.who.user_id, before.at):
            raise Refused(errors.KICKED)
        if before is not None and before.access_version == record.access_version:
            ticket_id = None
        else:
            ticket_id = await self._check_access(session, room, record, ticket)
        admission = await self._seats.admit(
            room.room_id, session.who, max_members=record.max_members, ticket_id=ticket_id
        )
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
        if not session.connected or self._rooms.get(room.room_id) is not room:
            await self._leave.give_back(session, room.room_id)
            raise Refused(errors.UNAVAILABLE)
        session.enter(room.room_id, Admitted(self._clock(), record.access_version))
        if admission.arrived:
            await self._announce.arrived(room.room_id, session.who, admission.occupancy)

    async def _check_access(
        self, session: Session, room: HostedRoom, record: RoomRecord, token: str | None
    ) -> str | None:
        """The id of the ticket that is to be used up; None where none is needed."""
        if token is not None:
            ticket = self._signatures.ticket_of(token)
            wanted = (room.room_id, session.who.user_id, record.access_version)
            if (ticket.room_id, ticket.user_id, ticket.access_version) != wanted:
                raise Refused(errors.TICKET_INVALID)
            return ticket.ticket_id
        user_id = session.who.user_id
        if not record.room["private"] or user_id == record.room["owner_id"]:
            return None
        if not await self._seats.has_grant(room.room_id, user_id, record.access_version):
            raise Refused(errors.PASSWORD_REQUIRED)
        return None

    async def _let_in(self, session: Session, room: HostedRoom, seen: Position | None) -> Joined:
        try:
            found = await self._collect(room, seen)
        except BaseException:
            if session not in room.audience.sessions_of(session.who.user_id):
                await self._leave.leave(session, room.room_id)
            raise
        if room.record.banned(session.who.user_id, self._clock()):
            await self._leave.leave(session, room.room_id)
            raise Refused(errors.BANNED)
        # No waiting from here on: what the room receives next goes to this session too.
        if room.room_id not in session.rooms:
            raise Refused(errors.UNAVAILABLE if session.connected else errors.NOT_A_MEMBER)
        if not self._seats.holds(room.room_id, session.who.user_id):
            # Evicted, kicked, or the room was removed while this was read: whoever did that did not see it here.
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
            # Not of the room's: who was let in by an earlier password has not given the new one.
            membership=self._signatures.membership(
                room.room_id, session.who.user_id, session.admissions[room.room_id].access_version
            ),
        )

    async def _collect(self, room: HostedRoom, seen: Position | None) -> Recovered | Newest:
        """What the client is to get; up to the room's position at the very moment this returns."""
        found = recover(room.ring, room.stream.position, seen)
        if seen is None or not isinstance(found, Wanting):
            return found if isinstance(found, Recovered) else newest(room.ring)
        if found is Wanting.NEWER:
            await self._repair.reach(room, seen.seq)
        else:
            await self._shared(("ring", room.room_id), lambda: self._fill_ring(room))
        found = recover(room.ring, room.stream.position, seen)
        if found is Wanting.OLDER:
            older = await self._shared(("log", room.room_id, seen.seq), lambda: self._read_after(room, seen.seq))
            rest = room.ring.since(older[-1].seq) if older else None
            if rest is not None:
                return Recovered([*room.ring.redacted(older), *rest])
        return found if isinstance(found, Recovered) else newest(room.ring)

    async def _fill_ring(self, room: HostedRoom) -> list[Frame]:
        """One read for all who come back at once, when another node has died: most have missed little."""
        ring = room.ring
        count = max(1, min(ring.space, limits.HISTORY_PAGE_MAX))
        page = await self._history.after(room.room_id, max(0, ring.start - count), count)
        if page.epoch == room.stream.position.epoch and ring is room.ring:
            ring.extend_back(page.frames)
        return []

    async def _read_after(self, room: HostedRoom, seq: int) -> list[Frame]:
        """What follows `seq`, as far as one read goes; nothing where it does not help."""
        page = await self._history.after(room.room_id, seq, limits.HISTORY_PAGE_MAX)
        if page.epoch != room.stream.position.epoch:
            return []
        return [frame for frame in page.frames if frame.seq <= room.ring.last]

    async def _shared(self, key: Hashable, read: Callable[[], Coroutine[Any, Any, list[Frame]]]) -> list[Frame]:
        """Who asks for the same at the same time shares one read."""
        reading = self._reading.get(key)
        if reading is None:
            reading = asyncio.create_task(read(), name=f"read back {key}")
            self._reading[key] = reading
            reading.add_done_callback(lambda _task: self._reading.pop(key, None))
        return await asyncio.shield(reading)
