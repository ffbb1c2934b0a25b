"""A room, the rules for what its owner chooses, and what is told of it."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gifchat_contracts import events, limits
from gifchat_contracts.events import RoomPayload
from gifchat_contracts.ids import Epoch, RoomId, UserId
from gifchat_rooms_api.domain.moderation import Sanction


class BadTitleError(ValueError):
    """A title that no room can have; `str()` says why."""


class BadPasswordError(ValueError):
    """A password that no room can have; `str()` says why."""


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
    """Goes up with every change of the password; tickets, grants and memberships of an older one are void."""
    slow_mode_s: int = 0
    members: int = 0
    """As the janitor last saw it; for order and as a stand-in while Redis is away."""
    sanctions: Mapping[UserId, Sanction] = field(default_factory=dict)
    sanctions_version: int = 0
    """Goes up with every change of `sanctions`, so that two of them at once do not undo each other."""

    @property
    def private(self) -> bool:
        """Whether entering takes a password."""
        return self.password_hash is not None


@dataclass(frozen=True, slots=True)
class NewPassword:
    """What the room's password is from now on; None: there is none."""

    password_hash: str | None


@dataclass(frozen=True, slots=True)
class RoomChange:
    """What an owner changes; None leaves it as it is."""

    title: str | None = None
    max_members: int | None = None
    password: NewPassword | None = None
    slow_mode_s: int | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is to change."""
        return self == RoomChange()


def title_of(raw: str) -> str:
    """Trim and check what somebody wants to call a room.

    Raises:
        BadTitleError: empty, over `TITLE_MAX_CHARS`, or with a control character or half of a surrogate pair in it.
    """
    if _has_control_characters(raw):
        raise BadTitleError("a title has no control characters")
    title = raw.strip()
    if not title:
        raise BadTitleError("a title needs at least one character that can be seen")
    if len(title) > limits.TITLE_MAX_CHARS:
        raise BadTitleError(f"a title has at most {limits.TITLE_MAX_CHARS} characters")
    return title


def password_of(raw: str) -> str:
    """Check what somebody wants as a room's password; it is kept as it was typed.

    Raises:
        BadPasswordError: over `PASSWORD_MAX_CHARS`, or with a control character or half of a surrogate pair in it.
    """
    if len(raw) > limits.PASSWORD_MAX_CHARS:
        raise BadPasswordError(f"a password has at most {limits.PASSWORD_MAX_CHARS} characters")
    if _has_control_characters(raw):
        raise BadPasswordError("a password has no control characters")
    return raw


def folded(title: str) -> str:
    """What titles are searched by: the same for upper and lower case and for compatible forms of a character."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", title).casefold())


def room_payload(room: Room, members: int | None = None) -> RoomPayload:
    """What everybody may know of a room; `members` where it is known better than the room knows it."""
    return {
        "_id": room.room_id,
        "title": room.title,
        "max": room.max_members,
        "private": room.private,
        "owner": room.owner_color,
        "owner_id": room.owner_id,
        "slow_mode_s": room.slow_mode_s,
        "createdAt": events.timestamp(room.created_at),
        "members": room.members if members is None else members,
    }


def _has_control_characters(text: str) -> bool:
    return any(unicodedata.category(character) in ("Cc", "Cs") for character in text)
