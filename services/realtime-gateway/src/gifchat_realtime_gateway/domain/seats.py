"""Seats: what comes out of a decision over them, what this node holds, and how long its claim on them lasts.

The decisions themselves are made in Redis (`adapters/lua/`), where all nodes meet; the models that tests hold them
against are built from these values.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId

_NO_SEATS: Mapping[Identity, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Admission:
    """What came of asking for a seat."""

    outcome: Literal["admitted", "room_full", "recovering", "ticket_used"]
    occupancy: int
    """Members of the room afterwards, seats in their grace included."""
    arrived: bool = False
    """A new member, to be announced. Not another tab, and not one who came back within the grace."""
    retry_after_s: float | None = None
    """With `recovering`: when new users are admitted again."""


@dataclass(frozen=True, slots=True)
class Departure:
    """What came of a session's end, or whom a sweep found gone."""

    room_id: RoomId
    user_id: UserId
    color: str
    """`#rrggbb`; empty with `absent`."""
    outcome: Literal["held", "grace", "gone", "absent"]
    """`held`: other sessions have the seat. `grace`: kept for a while. `gone`: freed by this very call, to be
    announced. `absent`: there was no seat; whoever freed it has announced it.
    """
    occupancy: int


@dataclass(frozen=True, slots=True)
class Readmission:
    """What came of asking for the seats of a node that was late."""

    outcome: Literal["readmitted", "recovering"]
    refused: Collection[UserId]
    """Users whose seats were given away meanwhile."""
    occupancy: int
    retry_after_s: float | None = None
    """With `recovering`: when to ask again."""


class HeldSeats:
    """What this node holds: sessions by user and room. The node's own truth, which Redis is made to follow."""

    def __init__(self) -> None:
        self._rooms: dict[RoomId, dict[Identity, int]] = {}
        self._identities: dict[tuple[RoomId, UserId], Identity] = {}

    def __contains__(self, room_id: RoomId) -> bool:
        return room_id in self._rooms

    def rooms(self) -> Collection[RoomId]:
        """The rooms with a session here."""
        return self._rooms.keys()

    def in_room(self, room_id: RoomId) -> Mapping[Identity, int]:
        """Sessions by user, at this moment."""
        return MappingProxyType(dict(self._rooms.get(room_id, _NO_SEATS)))

    def sessions(self, room_id: RoomId, user_id: UserId) -> int:
        """How many sessions the user has in the room on this node."""
        who = self._identities.get((room_id, user_id))
        return self._rooms[room_id][who] if who else 0

    def add(self, room_id: RoomId, who: Identity) -> None:
        """One session more."""
        known = self._identities.setdefault((room_id, who.user_id), who)
        room = self._rooms.setdefault(room_id, {})
        room[known] = room.get(known, 0) + 1

    def put(self, room_id: RoomId, who: Identity, sessions: int) -> None:
        """Set the sessions of a user that are not known here; what is known stays."""
        if sessions > 0 and (room_id, who.user_id) not in self._identities:
            self._identities[room_id, who.user_id] = who
            self._rooms.setdefault(room_id, {})[who] = sessions

    def take(self, room_id: RoomId, user_id: UserId) -> int:
        """One session less; returns how many the user has left here."""
        left = self.sessions(room_id, user_id) - 1
        if left <= 0:
            self.drop(room_id, user_id)
            return 0
        self._rooms[room_id][self._identities[room_id, user_id]] = left
        return left

    def drop(self, room_id: RoomId, user_id: UserId) -> None:
        """Forget all sessions of the user in the room."""
        who = self._identities.pop((room_id, user_id), None)
        if who is None:
            return
        room = self._rooms[room_id]
        del room[who]
        if not room:
            del self._rooms[room_id]

    def clear(self) -> None:
        """Forget everything."""
        self._rooms.clear()
        self._identities.clear()


class LeaseTimer:
    """How long the node may rely on its seats, on a monotonic clock in seconds.

    Counted from before a renewal was sent: Redis counts from when it ran, which is later, so a node stops relying on a
    seat before any other can sweep it.
    """

    def __init__(self, ttl_s: float, now_s: float) -> None:
        self._ttl_s = ttl_s
        self._renewed_at_s = now_s

    def renewed(self, sent_at_s: float) -> None:
        """A renewal that was sent at `sent_at_s` succeeded."""
        self._renewed_at_s = max(self._renewed_at_s, sent_at_s)

    def valid(self, now_s: float) -> bool:
        """Whether nobody can have swept this node's seats by `now_s`."""
        return now_s - self._renewed_at_s < self._ttl_s
