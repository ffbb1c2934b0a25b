"""Issue a ticket, which lets a user ask a gateway for a seat in a room.

The gateway assigns seats atomically. Refusing a full room here only saves the client a round trip.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from gifchat_contracts import errors, events, limits
from gifchat_contracts.errors import Refused
from gifchat_contracts.grants import Grant
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.domain.moderation import NO_SANCTION
from gifchat_rooms_api.domain.room import Room
from gifchat_rooms_api.ports import (
    AdmissionUnavailableError,
    Grants,
    Occupancy,
    OccupancyUnavailableError,
    Passwords,
    Rate,
    RateLimits,
    Rooms,
    Signatures,
)
from gifchat_rooms_api.use_cases.check_access import refuse_banned
from gifchat_rooms_api.use_cases.read_rooms import existing_room

ATTEMPTS_PER_USER = Rate("password-user", burst=5, refill_s=12.0)
"""Per room and user: enough for a person who mistypes."""
ATTEMPTS_PER_ADDRESS = Rate("password-address", burst=30, refill_s=3.0)
"""Per address, because an attacker can create any number of sessions. Enough for a school behind one address."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class IssuedTicket:
    """A ticket and the room that it is for."""

    ticket: str
    expires_at: datetime
    room: Room
    members: int | None
    """None while the seats cannot be read."""


@dataclass(frozen=True, slots=True)
class IssueTicket:
    """Checks ban, password and free seats, and signs tickets."""

    rooms: Rooms
    occupancy: Occupancy
    grants: Grants
    rate_limits: RateLimits
    passwords: Passwords
    signatures: Signatures
    clock: Callable[[], datetime]

    async def issue(self, room_id: RoomId, user: Identity, address: str, password: str | None) -> IssuedTicket:
        """Issue a ticket to `user`. Password attempts are counted per user and per `address`.

        Raises:
            Refused: `ROOM_NOT_FOUND`, `BANNED`, `KICKED`, `PASSWORD_REQUIRED`, `WRONG_PASSWORD`, `TOO_MANY_ATTEMPTS`,
                `ROOM_FULL`.
            PasswordsBusyError, StoreUnavailableError: no ticket was issued.
        """
        room = await existing_room(self.rooms, room_id)
        now = self.clock()
        refuse_banned(room, user.user_id, now)
        _refuse_kicked(room, user.user_id, now)
        if room.password_hash is not None and user.user_id != room.owner_id:
            await self._check_password(room, room.password_hash, user, address, password)
        members = await self._members_unless_full(room, user.user_id)
        ticket = self.signatures.ticket(room_id, user.user_id, room.access_version)
        return IssuedTicket(ticket, now + timedelta(seconds=limits.TICKET_TTL_S), room, members)

    async def _check_password(
        self, room: Room, password_hash: str, user: Identity, address: str, password: str | None
    ) -> None:
        if not password:
            if await self._has_grant(room, user.user_id):
                return
            raise Refused(errors.PASSWORD_REQUIRED)
        await self._count_attempt(ATTEMPTS_PER_USER, f"{room.room_id}:{user.user_id}")
        await self._count_attempt(ATTEMPTS_PER_ADDRESS, address)
        if not await self.passwords.matches(password, password_hash):
            raise Refused(errors.WRONG_PASSWORD)
        try:
            await self.grants.remember(room.room_id, user.user_id, Grant(room.access_version, self.clock()))
        except AdmissionUnavailableError as error:
            _log.warning("grant_not_remembered", room=room.room_id, error=str(error))

    async def _has_grant(self, room: Room, user_id: UserId) -> bool:
        """Return whether the user has a grant; False if grants cannot be read, so that the user is asked again."""
        try:
            grant = await self.grants.get(room.room_id, user_id)
        except AdmissionUnavailableError as error:
            _log.warning("grant_not_read", room=room.room_id, error=str(error))
            return False
        kicked_at = room.sanctions.get(user_id, NO_SANCTION).kicked_at
        return grant is not None and grant.valid(room.access_version, kicked_at)

    async def _count_attempt(self, rate: Rate, subject: str) -> None:
        wait_s = await self.rate_limits.take(rate, subject)
        if wait_s > 0:
            raise Refused(errors.TOO_MANY_ATTEMPTS, wait_s)

    async def _members_unless_full(self, room: Room, user_id: UserId) -> int | None:
        try:
            occupancy = await self.occupancy.for_user(room.room_id, user_id)
        except OccupancyUnavailableError:
            return None
        may_exceed = occupancy.seated or user_id == room.owner_id
        if occupancy.members >= room.max_members and not may_exceed:
            raise Refused(errors.ROOM_FULL)
        return occupancy.members


def _refuse_kicked(room: Room, user_id: UserId, now: datetime) -> None:
    until = room.sanctions.get(user_id, NO_SANCTION).kicked_until
    if until is not None and until > now:
        raise Refused(errors.KICKED, detail=f"The kick ends at {events.timestamp(until)}.")
