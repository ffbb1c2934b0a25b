"""Merge presence changes of big rooms and occupancies for the lobby into at most one event a second.

Each gateway merges twice: its own changes before it sends them, and the changes that it receives from all gateways.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from gifchat_contracts import limits
from gifchat_contracts.events import PresencePayload
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId, is_room_id


class Tier(Enum):
    """How a room's presence is announced."""

    ONE_BY_ONE = auto()
    """One `join` or `exit` for each change, sent at once."""
    DIFFERENCE = auto()
    """The members that joined and left, at most once a second."""
    COUNT = auto()
    """The number of members, at most once a second."""


def tier_of(members: int) -> Tier:
    """Return the tier of a room with `members` members."""
    if members <= limits.PRESENCE_ONE_BY_ONE_MEMBERS:
        return Tier.ONE_BY_ONE
    if members <= limits.PRESENCE_DIFFERENCE_MEMBERS:
        return Tier.DIFFERENCE
    return Tier.COUNT


def read_presence(room_id: RoomId, body: bytes) -> PresencePayload:
    """Parse another node's presence event for this room.

    Raises:
        ValueError: `body` is not such an event.
    """
    match json.loads(body):
        case [_, {"room": named, "members": members, **rest}] if named == room_id and _is_count(members):
            payload: PresencePayload = {"room": room_id, "members": members}
            if "joined" in rest or "left" in rest:
                payload["joined"] = _read_colors(rest.get("joined", {}))
                payload["left"] = _read_colors(rest.get("left", {}))
            return payload
        case _:
            raise ValueError(f"not a presence event of {room_id}")


def read_occupancies(body: bytes) -> dict[RoomId, int]:
    """Parse another node's event for the lobby: the number of members by room.

    Raises:
        ValueError: `body` is not such an event.
    """
    match json.loads(body):
        case [_, dict() as members] if all(map(is_room_id, members)) and all(map(_is_count, members.values())):
            return members
        case _:
            raise ValueError("not numbers of members by room")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _read_colors(value: object) -> dict[UserId, str]:
    if not isinstance(value, dict) or not all(isinstance(color, str) for color in value.values()):
        raise ValueError("not colours by user")
    return value


@dataclass(slots=True)
class _Change:
    """The changes in a room since the last event. No user is in both `joined` and `left`."""

    members: int
    joined: dict[UserId, str] = field(default_factory=dict)
    left: dict[UserId, str] = field(default_factory=dict)
    names_complete: bool = True

    def add(self, later: "_Change") -> None:
        """Add a later change, in place. If a user came and left again, or left and returned, the two cancel out."""
        self.members = later.members
        _move(later.joined, self.joined, self.left)
        _move(later.left, self.left, self.joined)
        self.names_complete = self.names_complete and later.names_complete

    def payload(self, room_id: RoomId) -> PresencePayload | None:
        """Return the event, or None if the changes cancelled out."""
        if tier_of(self.members) is Tier.COUNT or not self.names_complete:
            return {"room": room_id, "members": self.members}
        if not self.joined and not self.left:
            return None
        return {"room": room_id, "members": self.members, "joined": self.joined, "left": self.left}


def _move(colors: Mapping[UserId, str], into: dict[UserId, str], out_of: dict[UserId, str]) -> None:
    for user_id, color in colors.items():
        if out_of.pop(user_id, None) is None:
            into[user_id] = color


class PresenceMerge:
    """Changes that are not sent yet, by room."""

    def __init__(self) -> None:
        self._changes: dict[RoomId, _Change] = {}

    def __contains__(self, room_id: RoomId) -> bool:
        return room_id in self._changes

    def arrived(self, room_id: RoomId, who: Identity, members: int) -> None:
        """Add a new member. The room has `members` members now."""
        self._add(room_id, _Change(members, joined={who.user_id: who.color}))

    def left(self, room_id: RoomId, who: Identity, members: int) -> None:
        """Remove a member. The room has `members` members now."""
        self._add(room_id, _Change(members, left={who.user_id: who.color}))

    def add(self, payload: PresencePayload) -> None:
        """Add another node's event."""
        self._add(payload["room"], _change_of(payload))

    def put_back(self, payloads: Iterable[PresencePayload]) -> None:
        """Return taken events that could not be sent. They precede all later changes."""
        for payload in payloads:
            earlier, later = _change_of(payload), self._changes.get(payload["room"])
            if later is not None:
                earlier.add(later)
            self._changes[payload["room"]] = earlier

    def forget(self, room_id: RoomId) -> None:
        """Drop the changes of a room."""
        self._changes.pop(room_id, None)

    def take(self) -> list[PresencePayload]:
        """Take all changes, as one event for each room that has some."""
        changes, self._changes = self._changes, {}
        payloads = (change.payload(room_id) for room_id, change in changes.items())
        return [payload for payload in payloads if payload is not None]

    def _add(self, room_id: RoomId, later: _Change) -> None:
        earlier = self._changes.get(room_id)
        if earlier is None:
            self._changes[room_id] = later
        else:
            earlier.add(later)


def _change_of(payload: PresencePayload) -> _Change:
    return _Change(
        payload["members"],
        {**payload.get("joined", {})},
        {**payload.get("left", {})},
        names_complete="joined" in payload or "left" in payload,
    )


class OccupancyMerge:
    """The latest number of members of each room where that number changed."""

    def __init__(self) -> None:
        self._members: dict[RoomId, int] = {}

    def add(self, members: Mapping[RoomId, int]) -> None:
        """Add numbers of members by room."""
        self._members.update(members)

    def put_back(self, members: Mapping[RoomId, int]) -> None:
        """Return taken numbers that could not be sent. Later numbers take precedence."""
        self._members = {**members, **self._members}

    def forget(self, room_id: RoomId) -> None:
        """Drop a removed room."""
        self._members.pop(room_id, None)

    def take(self) -> dict[RoomId, int]:
        """Take all numbers, for one event."""
        members, self._members = self._members, {}
        return members
