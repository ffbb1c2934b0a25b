"""A room, the rules for its password, and its public payload."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gifchat_contracts import events, limits
from gifchat_contracts.events import RoomPayload
from gifchat_contracts.ids import Epoch, RoomId, UserId
from gifchat_rooms_api.domain.moderation import Sanction


class BadPasswordError(ValueError):
    """The password is not valid; `str()` says why."""


@dataclass(frozen=True, slots=True)
class Room:
    """A room as it is stored."""

    room_id: RoomId
    epoch: Epoch
    owner_id: UserId
    owner_color: str
    title: str
    max_members: int
    created_at: datetime
    """UTC, whole milliseconds."""
    password_hash: str | None = None
    access_version: int = 1
    """Increases whenever the password changes; tickets, grants and memberships of an older version are void."""
    slow_mode_s: int = 0
    members: int = 0
    """As the janitor last recorded it; used for sorting, and as a fallback while Redis is down."""
    sanctions: Mapping[UserId, Sanction] = field(default_factory=dict)
    sanctions_version: int = 0
    """Increases whenever `sanctions` change, so that concurrent changes do not undo each other."""
    owner_address: str = ""
    """A digest of the address that created the room, for counting the rooms of an address."""


@dataclass(frozen=True, slots=True)
class NewPassword:
    """The room's new password, hashed; None removes the password."""

    password_hash: str | None


@dataclass(frozen=True, slots=True)
class RoomPatch:
    """An owner's changes to a room; None leaves a field unchanged."""

    title: str | None = None
    max_members: int | None = None
    password: NewPassword | None = None
    slow_mode_s: int | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing changes."""
        return self == RoomPatch()


def valid_password(raw: str) -> str:
    """Check a room's password; it is used exactly as typed.

    Raises:
        BadPasswordError: the password is longer than `PASSWORD_MAX_CHARS`, or contains a control character or a lone
            surrogate.
    """
    if len(raw) > limits.PASSWORD_MAX_CHARS:
        raise BadPasswordError(f"a password has at most {limits.PASSWORD_MAX_CHARS} characters")
    if _has_control_characters(raw):
        raise BadPasswordError("a password must not contain control characters")
    return raw


def room_payload(room: Room, members: int | None = None) -> RoomPayload:
    """Return the room as everybody may see it; `members` overrides the recorded number."""
    return {
        "_id": room.room_id,
        "title": room.title,
        "max": room.max_members,
        "private": room.password_hash is not None,
        "owner": room.owner_color,
        "owner_id": room.owner_id,
        "slow_mode_s": room.slow_mode_s,
        "createdAt": events.timestamp(room.created_at),
        "members": room.members if members is None else members,
    }


def _has_control_characters(text: str) -> bool:
    return any(unicodedata.category(character) in ("Cc", "Cs") for character in text)
