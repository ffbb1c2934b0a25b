"""Who may enter a room, and who may read and write in it.

A ticket says: this user may ask for a seat now. The seat itself is decided over by a gateway, atomically; what is
said of a full room here saves a detour. A membership or a seat says: this user was let in (see docs/adr/0005).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from gifchat_contracts import errors, limits
from gifchat_contracts.errors import Refused
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.domain.moderation import NO_SANCTION
from gifchat_rooms_api.domain.room import Room
from gifchat_rooms_api.ports import (
    AdmissionUnavailableError,
    Grants,
    Membership,
    Occupancy,
    OccupancyUnavailableError,
    Passwords,
    PasswordsBusyError,
    Rate,
    RateLimits,
    Rooms,
    Signatures,
)
from gifchat_rooms_api.use_cases.group_commit import Rule

ATTEMPTS_OF_USER = Rate("password-user", burst=5, every_s=12.0)
"""Per room and user: a person mistypes."""
ATTEMPTS_FROM_ADDRESS = Rate("password-address", burst=30, every_s=3.0)
"""Per address: sessions are free, so who guesses makes many. A school behind one address still gets in."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class IssuedTicket:
    """A ticket and the room that it opens."""

    ticket: str
    expires_at: datetime
    room: Room
    members: int | None
    """None: not known now."""


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What speaks for a user's being a member, other than the room itself."""

    membership: Membership | None
    seated: bool | None
    """None: not known now, or not asked because it does not matter."""


class Admission:
    """Checks passwords, issues tickets, and gives the rules for a room's messages."""

    def __init__(
        self,
        *,
        rooms: Rooms,
        occupancy: Occupancy,
        grants: Grants,
        rate_limits: RateLimits,
        passwords: Passwords,
        signatures: Signatures,
        clock: Callable[[], datetime],
    ) -> None:
        self._rooms = rooms
        self._occupancy = occupancy
        self._grants = grants
        self._rate_limits = rate_limits
        self._passwords = passwords
        self._signatures = signatures
        self._clock = clock

    async def issue_ticket(self, room_id: RoomId, who: Identity, address: str, password: str | None) -> IssuedTicket:
        """A ticket for `who`; `address` is what attempts are counted by beside the user.

        Raises:
            Refused: `ROOM_NOT_FOUND`, `BANNED`, `PASSWORD_REQUIRED`, `WRONG_PASSWORD`, `TOO_MANY_ATTEMPTS`,
                `ROOM_FULL`, or `UNAVAILABLE`: too many passwords are being checked.
            StoreUnavailableError: the room cannot be read.
        """
        room = await self._room(room_id)
        now = self._clock()
        refuse_banned(room, who.user_id, now)
        if room.password_hash is not None and who.user_id != room.owner_id:
            await self._check_password(room, room.password_hash, who, address, password)
        members = await self._refuse_full(room, who.user_id)
        ticket = self._signatures.ticket(room_id, who.user_id, room.access_version)
        return IssuedTicket(ticket, now + timedelta(seconds=limits.TICKET_TTL_S), room, members)

    async def reader_rule(self, room_id: RoomId, user_id: UserId, membership_token: str | None) -> Rule:
        """The rule by which `user_id` may read the room's log: a member, not banned.

        The rule holds for the room that it is given, which may be newer than the one that is read here.

        Raises:
            Refused: `ROOM_NOT_FOUND`.
            StoreUnavailableError: the room cannot be read.
        """
        room = await self._room(room_id)
        evidence = await self._evidence(room, user_id, membership_token)

        def rule(room: Room, now: datetime) -> None:
            refuse_banned(room, user_id, now)
            _refuse_stranger(room, user_id, evidence)

        return rule

    async def writer_rule(self, room_id: RoomId, user_id: UserId, membership_token: str | None) -> Rule:
        """As `reader_rule`, and not muted."""
        may_read = await self.reader_rule(room_id, user_id, membership_token)

        def rule(room: Room, now: datetime) -> None:
            may_read(room, now)
            refuse_muted(room, user_id, now)

        return rule

    async def _room(self, room_id: RoomId) -> Room:
        room = await self._rooms.get(room_id)
        if room is None:
            raise Refused(errors.ROOM_NOT_FOUND)
        return room

    async def _check_password(
        self, room: Room, password_hash: str, who: Identity, address: str, password: str | None
    ) -> None:
        if not password:
            if await self._has_grant(room, who.user_id):
                return
            raise Refused(errors.PASSWORD_REQUIRED)
        await self._count_attempt(ATTEMPTS_OF_USER, f"{room.room_id}:{who.user_id}")
        await self._count_attempt(ATTEMPTS_FROM_ADDRESS, address)
        try:
            right = await self._passwords.matches(password, password_hash)
        except PasswordsBusyError as error:
            raise Refused(errors.UNAVAILABLE, retry_after_s=2) from error
        if not right:
            raise Refused(errors.WRONG_PASSWORD)
        try:
            await self._grants.remember(room.room_id, who.user_id, room.access_version)
        except AdmissionUnavailableError as error:
            _log.warning("grant_not_remembered", room=room.room_id, error=str(error))

    async def _has_grant(self, room: Room, user_id: UserId) -> bool:
        """Where grants cannot be read, the password helps."""
        try:
            return await self._grants.has(room.room_id, user_id, room.access_version)
        except AdmissionUnavailableError as error:
            _log.warning("grant_not_read", room=room.room_id, error=str(error))
            return False

    async def _count_attempt(self, rate: Rate, whom: str) -> None:
        wait_s = await self._rate_limits.take(rate, whom)
        if wait_s > 0:
            raise Refused(errors.TOO_MANY_ATTEMPTS, wait_s)

    async def _refuse_full(self, room: Room, user_id: UserId) -> int | None:
        try:
            seats = await self._occupancy.seats(room.room_id, user_id)
        except OccupancyUnavailableError:
            return None
        if seats.members >= room.max_members and not seats.seated:
            raise Refused(errors.ROOM_FULL)
        return seats.members

    async def _evidence(self, room: Room, user_id: UserId, membership_token: str | None) -> _Evidence:
        membership = self._signatures.membership_of(membership_token) if membership_token else None
        if room.owner_id == user_id or _proves(membership, room, user_id):
            return _Evidence(membership, seated=None)
        try:
            seats = await self._occupancy.seats(room.room_id, user_id)
        except OccupancyUnavailableError:
            return _Evidence(membership, seated=None)
        return _Evidence(membership, seats.seated)


def admitted_rule(user_id: UserId) -> Rule:
    """The rule for a user whose seat a gateway has checked: not banned, not muted."""

    def rule(room: Room, now: datetime) -> None:
        refuse_banned(room, user_id, now)
        refuse_muted(room, user_id, now)

    return rule


def refuse_banned(room: Room, user_id: UserId, now: datetime) -> None:
    """Raise `Refused` with `BANNED` if the user is."""
    if room.sanctions.get(user_id, NO_SANCTION).banned(now):
        raise Refused(errors.BANNED)


def refuse_muted(room: Room, user_id: UserId, now: datetime) -> None:
    """Raise `Refused` with `MUTED` if the user is."""
    if room.sanctions.get(user_id, NO_SANCTION).muted(now):
        raise Refused(errors.MUTED)


def _refuse_stranger(room: Room, user_id: UserId, evidence: _Evidence) -> None:
    if room.owner_id == user_id or evidence.seated or _proves(evidence.membership, room, user_id):
        return
    if evidence.seated is None:
        raise Refused(errors.ADMISSION_UNAVAILABLE)
    raise Refused(errors.KICKED if _is_of(evidence.membership, room, user_id) else errors.NOT_A_MEMBER)


def _proves(membership: Membership | None, room: Room, user_id: UserId) -> bool:
    if membership is None or not _is_of(membership, room, user_id):
        return False
    kicked_at = room.sanctions.get(user_id, NO_SANCTION).kicked_at
    return kicked_at is None or membership.issued_at > kicked_at


def _is_of(membership: Membership | None, room: Room, user_id: UserId) -> bool:
    return membership is not None and (membership.room_id, membership.user_id, membership.access_version) == (
        room.room_id,
        user_id,
        room.access_version,
    )
