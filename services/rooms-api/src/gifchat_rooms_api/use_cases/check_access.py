"""Check who may read a room, post into it, and manage it.

A seat shows that a gateway has admitted the user. A membership replaces it while the seats are unknown (see
docs/adr/0030).
"""

from dataclasses import dataclass
from datetime import datetime

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.domain.moderation import NO_SANCTION
from gifchat_rooms_api.domain.room import Room
from gifchat_rooms_api.ports import Membership, Occupancy, OccupancyUnavailableError, Rooms, Signatures
from gifchat_rooms_api.use_cases.group_commit import Rule
from gifchat_rooms_api.use_cases.read_rooms import existing_room


@dataclass(frozen=True, slots=True)
class CheckAccess:
    """Makes the rules that say who may read a room's log and post into it."""

    rooms: Rooms
    occupancy: Occupancy
    signatures: Signatures

    async def reader_rule(self, room_id: RoomId, user_id: UserId, membership_token: str | None) -> Rule:
        """Return the rule for reading the room's log: the user must be its owner or have a seat, and not be banned.

        While the seats are unknown, a membership is enough. The rule checks the room that it is called with,
        which may be newer than the one read here.

        Raises:
            Refused: `ROOM_NOT_FOUND`.
            StoreUnavailableError: the room cannot be read.
        """
        room = await existing_room(self.rooms, room_id)
        membership = self.signatures.membership_of(membership_token) if membership_token else None
        seated = True if room.owner_id == user_id else await self._seated(room_id, user_id)

        def rule(room: Room, now: datetime) -> None:
            refuse_banned(room, user_id, now)
            if room.owner_id == user_id:
                return
            if room.sanctions.get(user_id, NO_SANCTION).kicked(now):
                raise Refused(errors.KICKED)  # the gateway may not have given up the seat yet
            if seated:
                return
            if seated is None:
                if _proves(membership, room, user_id):
                    return
                raise Refused(errors.ADMISSION_UNAVAILABLE)
            raise Refused(errors.KICKED if _kicked(membership, room, user_id) else errors.NOT_A_MEMBER)

        return rule

    async def _seated(self, room_id: RoomId, user_id: UserId) -> bool | None:
        """Return whether the user has a seat; None if that is unknown: Redis is down, or came back empty."""
        try:
            if await self.occupancy.seated(room_id, user_id):
                return True
            seats = await self.occupancy.for_user(room_id, user_id)
        except OccupancyUnavailableError:
            return None
        return seats.seated if seats.seated or seats.settled else None

    async def writer_rule(self, room_id: RoomId, user_id: UserId, membership_token: str | None) -> Rule:
        """Return the rule for posting: the user must satisfy `reader_rule` and not be muted."""
        may_read = await self.reader_rule(room_id, user_id, membership_token)

        def rule(room: Room, now: datetime) -> None:
            may_read(room, now)
            refuse_muted(room, user_id, now)

        return rule


def seated_rule(user_id: UserId) -> Rule:
    """Return the rule for a user whose seat a gateway has checked: the user must not be banned or muted."""

    def rule(room: Room, now: datetime) -> None:
        refuse_banned(room, user_id, now)
        refuse_muted(room, user_id, now)

    return rule


def owner_rule(user_id: UserId) -> Rule:
    """Return the rule for entries that only the owner may write."""

    def rule(room: Room, now: datetime) -> None:  # noqa: ARG001 - the signature of a rule
        if room.owner_id != user_id:
            raise Refused(errors.NOT_OWNER)

    return rule


async def owned_room(rooms: Rooms, room_id: RoomId, user_id: UserId) -> Room:
    """Return the room, if the user owns it.

    Raises:
        Refused: `ROOM_NOT_FOUND`, `NOT_OWNER`.
        StoreUnavailableError: the room cannot be read.
    """
    room = await existing_room(rooms, room_id)
    if room.owner_id != user_id:
        raise Refused(errors.NOT_OWNER)
    return room


def refuse_banned(room: Room, user_id: UserId, now: datetime) -> None:
    """Raise `Refused` with `BANNED` if the user is banned."""
    if room.sanctions.get(user_id, NO_SANCTION).banned(now):
        raise Refused(errors.BANNED)


def refuse_muted(room: Room, user_id: UserId, now: datetime) -> None:
    """Raise `Refused` with `MUTED` if the user is muted."""
    if room.sanctions.get(user_id, NO_SANCTION).muted(now):
        raise Refused(errors.MUTED)


def _proves(membership: Membership | None, room: Room, user_id: UserId) -> bool:
    if membership is None or not _matches(membership, room, user_id):
        return False
    kicked_at = room.sanctions.get(user_id, NO_SANCTION).kicked_at
    return kicked_at is None or membership.issued_at > kicked_at


def _kicked(membership: Membership | None, room: Room, user_id: UserId) -> bool:
    """Whether the user was admitted and then kicked."""
    return _matches(membership, room, user_id) and not _proves(membership, room, user_id)


def _matches(membership: Membership | None, room: Room, user_id: UserId) -> bool:
    return membership is not None and (membership.room_id, membership.user_id, membership.access_version) == (
        room.room_id,
        user_id,
        room.access_version,
    )
