"""Presence and occupancy, thinned: what a big room does not need one by one, and the lobby not at once.

The same values are used where events are sent and where they are received: a gateway sends at most one difference a
second, and of what N gateways send it passes on one a second.
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
    """How a room's presence is told."""

    ONE_BY_ONE = auto()
    """`join` and `exit`, each at once."""
    DIFFERENCE = auto()
    """Who came and who left, at most once a second."""
    COUNT = auto()
    """How many there are, at most once a second."""


def tier_of(members: int) -> Tier:
    """The tier of a room with so many members."""
    if members <= limits.PRESENCE_ONE_BY_ONE_MEMBERS:
        return Tier.ONE_BY_ONE
    if members <= limits.PRESENCE_DIFFERENCE_MEMBERS:
        return Tier.DIFFERENCE
    return Tier.COUNT


def read_presence(room_id: RoomId, body: bytes) -> PresencePayload:
    """What a node tells of the room's presence.

    Raises:
        ValueError: it tells something else.
    """
    match json.loads(body):
        case [_, {"room": told, "members": members, **rest}] if told == room_id and _is_count(members):
            payload: PresencePayload = {"room": room_id, "members": members}
            if "joined" in rest or "left" in rest:
                payload["joined"] = _read_colors(rest.get("joined", {}))
                payload["left"] = _read_colors(rest.get("left", {}))
            return payload
        case _:
            raise ValueError(f"no presence of {room_id}")


def read_occupancies(body: bytes) -> dict[RoomId, int]:
    """What a node tells the lobby: members by room.

    Raises:
        ValueError: it tells something else.
    """
    match json.loads(body):
        case [_, dict() as members] if all(map(is_room_id, members)) and all(map(_is_count, members.values())):
            return members
        case _:
            raise ValueError("no members by room")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _read_colors(value: object) -> dict[UserId, str]:
    if not isinstance(value, dict) or not all(isinstance(color, str) for color in value.values()):
        raise ValueError("no colours by user")
    return value


@dataclass(slots=True)
class _Change:
    """What happened in a room since it was last told: nobody is in both `joined` and `left`."""

    members: int
    joined: dict[UserId, str] = field(default_factory=dict)
    left: dict[UserId, str] = field(default_factory=dict)
    names_complete: bool = True

    def add(self, later: "_Change") -> None:
        """Then comes `later`. Who came and left again, or left and came back, does not show.

        In place: a storm of joins adds one by one.
        """
        self.members = later.members
        _move(later.joined, self.joined, self.left)
        _move(later.left, self.left, self.joined)
        self.names_complete = self.names_complete and later.names_complete

    def payload(self, room_id: RoomId) -> PresencePayload | None:
        """The event; None where nothing is left to tell."""
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
    """What is still to be told of each room."""

    def __init__(self) -> None:
        self._changes: dict[RoomId, _Change] = {}

    def __contains__(self, room_id: RoomId) -> bool:
        return room_id in self._changes

    def arrived(self, room_id: RoomId, who: Identity, members: int) -> None:
        """`who` is a new member of the room, which has so many now."""
        self._add(room_id, _Change(members, joined={who.user_id: who.color}))

    def left(self, room_id: RoomId, who: Identity, members: int) -> None:
        """`who` is gone from the room, which has so many members now."""
        self._add(room_id, _Change(members, left={who.user_id: who.color}))

    def add(self, payload: PresencePayload) -> None:
        """What another node tells."""
        self._add(payload["room"], _change_of(payload))

    def put_back(self, payloads: Iterable[PresencePayload]) -> None:
        """What was taken could not be told: it comes before all that happened since."""
        for payload in payloads:
            earlier, later = _change_of(payload), self._changes.get(payload["room"])
            if later is not None:
                earlier.add(later)
            self._changes[payload["room"]] = earlier

    def forget(self, room_id: RoomId) -> None:
        """The room is gone, or nobody here listens to it."""
        self._changes.pop(room_id, None)

    def take(self) -> list[PresencePayload]:
        """One event for each room with something to tell."""
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
    """The rooms whose number of members changed, with the latest number."""

    def __init__(self) -> None:
        self._members: dict[RoomId, int] = {}

    def add(self, members: Mapping[RoomId, int]) -> None:
        """Members by room."""
        self._members.update(members)

    def put_back(self, members: Mapping[RoomId, int]) -> None:
        """What was taken could not be told: it is older than what came since."""
        self._members = {**members, **self._members}

    def forget(self, room_id: RoomId) -> None:
        """The room is gone."""
        self._members.pop(room_id, None)

    def take(self) -> dict[RoomId, int]:
        """Members by changed room, for one event."""
        members, self._members = self._members, {}
        return members
