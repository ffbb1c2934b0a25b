"""Take sessions out of rooms after a kick, a ban, a lost seat, or the removal of the room."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import structlog

from gifchat_contracts import errors, socket_events
from gifchat_contracts.errors import ErrorCode
from gifchat_contracts.events import body, timestamp
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_realtime_gateway import metrics
from gifchat_realtime_gateway.domain.hosted_room import HostedRoom
from gifchat_realtime_gateway.domain.room_record import Forever, RoomRecord
from gifchat_realtime_gateway.ports import Seats, SeatsUnavailableError, Sockets
from gifchat_realtime_gateway.use_cases.announce_presence import AnnouncePresence

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, eq=False)
class EvictSessions:
    """Takes sessions out of a room. An evicted client stays connected and learns the reason."""

    sockets: Sockets
    rooms: Mapping[RoomId, HostedRoom]
    seats: Seats
    announce: AnnouncePresence
    clock: Callable[[], datetime]

    def max_members(self, room_id: RoomId) -> int:
        """See `renew_leases.SeatedSessions`."""
        room = self.rooms.get(room_id)
        return room.record.max_members if room else 0

    def owner_id(self, room_id: RoomId) -> UserId | None:
        """See `renew_leases.SeatedSessions`."""
        room = self.rooms.get(room_id)
        return room.record.owner_id if room else None

    async def evict(self, room_id: RoomId, user_ids: Collection[UserId]) -> None:
        """See `renew_leases.SeatedSessions`."""
        room = self.rooms.get(room_id)
        if room is not None:
            for user_id in user_ids:
                self._take_out(room, user_id, errors.ROOM_FULL)

    async def unseat(self, room: HostedRoom, user_id: UserId) -> None:
        """Evict a kicked or banned user's sessions on this node, and free the seat at once.

        Every node with sessions of the user does this. One of them frees the seat and announces the departure.
        """
        sessions = room.audience.sessions_of(user_id)
        if not sessions:
            return
        self._take_out(room, user_id, None)
        try:
            departure = await self.seats.remove(room.room_id, user_id)
        except SeatsUnavailableError as error:
            _log.warning("seat_not_freed", room=room.room_id, error=str(error))
            return
        room.occupancy = departure.occupancy
        if departure.outcome == "gone":
            who = Identity(user_id, departure.color or sessions[0].who.color)
            await self.announce.left(room.room_id, who, departure.occupancy)

    async def enforce(self, room: HostedRoom, record: RoomRecord) -> None:
        """Evict banned and kicked users who are still in the room, because their sanction event may have been lost."""
        now = self.clock()
        gone: dict[UserId, Literal["banned", "kicked"]] = {}
        for session in room.audience.sessions():
            if record.banned(session.who.user_id, now):
                gone[session.who.user_id] = "banned"
            elif record.kicked(session, room.room_id):
                gone[session.who.user_id] = "kicked"
        for user_id, code in gone.items():
            until = record.kicked_until.get(user_id) if code == "kicked" else record.banned_until[user_id]
            payload = {"room": room.room_id, "code": code, "until": _timestamp(until)}
            self.sockets.deliver(room.audience.sids_of(user_id), body(socket_events.SANCTION, payload))
            await self.unseat(room, user_id)

    async def close(self, room: HostedRoom) -> None:
        """Tell the sessions that the room was removed, and take them out of it."""
        self.announce.forget(room.room_id)
        sessions = room.audience.sessions()
        # Do not send through the group: it drops queued events for sessions that leave it.
        sids = [session.sid for session in sessions]
        self.sockets.deliver(sids, body(socket_events.REMOVE_ROOM, room.room_id))
        for session in sessions:
            room.audience.discard(session)
            session.leave(room.room_id)
        users = {session.who.user_id for session in sessions}
        outcomes = await asyncio.gather(
            *(self.seats.remove(room.room_id, user_id) for user_id in users), return_exceptions=True
        )
        failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if failed:
            _log.warning("seats_not_freed", room=room.room_id, seats=len(failed), error=str(failed[0]))

    def _take_out(self, room: HostedRoom, user_id: UserId, code: ErrorCode | None) -> None:
        for session in room.audience.sessions_of(user_id):
            if code is not None:
                refusal = {"room": room.room_id, "ok": False, "code": code.code, "retry": code.retry}
                refusal["message"] = code.text(session.language)
                self.sockets.deliver([session.sid], body(socket_events.JOIN_REFUSED, refusal))
            room.audience.discard(session)
            session.leave(room.room_id)
            metrics.EVICTIONS.inc()


def _timestamp(until: datetime | Forever | None) -> str | None:
    return timestamp(until) if isinstance(until, datetime) else None
