"""Seats: the results of decisions, the seats that this node holds, and how long its lease on them lasts.

Redis makes the decisions for all nodes (`adapters/lua/`). The models in the tests use these values too.
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
    """The answer to a request for a seat."""

    outcome: Literal["admitted", "room_full", "recovering", "ticket_used"]
    occupancy: int
    """Members of the room afterwards, including seats in their grace."""
    arrived: bool = False
    """Whether to announce a new member. False for another tab, and for a return within the grace."""
    retry_after_s: float | None = None
    """If `recovering`: seconds until new users are admitted again."""


@dataclass(frozen=True, slots=True)
class Departure:
    """The result of ending a session, or a departure that a sweep found."""

    room_id: RoomId
    user_id: UserId
    color: str
    """`#rrggbb`; empty if `absent`."""
    outcome: Literal["held", "grace", "gone", "absent"]
    """`held`: other sessions keep the seat. `grace`: it is kept for a while. `gone`: this call freed it, so announce
    it. `absent`: there was no seat; the call that freed it announced it.
    """
    occupancy: int


@dataclass(frozen=True, slots=True)
class Readmission:
    """The answer to a late node that asked for its seats back."""

    outcome: Literal["readmitted", "recovering"]
    refused: Collection[UserId]
    """Users for whom no seat is left."""
    occupancy: int
    retry_after_s: float | None = None
    """If `recovering`: seconds until the node may ask again."""


class HeldSeats:
    """The sessions of this node, by user and room. Redis is updated to match them."""

    def __init__(self) -> None:
        self._rooms: dict[RoomId, dict[Identity, int]] = {}
        self._identities: dict[tuple[RoomId, UserId], Identity] = {}

    def __contains__(self, room_id: RoomId) -> bool:
        return room_id in self._rooms

    def rooms(self) -> Collection[RoomId]:
        """Return the rooms with a session on this node."""
        return self._rooms.keys()

    def in_room(self, room_id: RoomId) -> Mapping[Identity, int]:
        """Return the number of sessions by user."""
        return MappingProxyType(dict(self._rooms.get(room_id, _NO_SEATS)))

    def sessions(self, room_id: RoomId, user_id: UserId) -> int:
        """Return how many sessions the user has in the room on this node."""
        who = self._identities.get((room_id, user_id))
        return self._rooms[room_id][who] if who else 0

    def add(self, room_id: RoomId, who: Identity) -> None:
        """Add a session."""
        known = self._identities.setdefault((room_id, who.user_id), who)
        room = self._rooms.setdefault(room_id, {})
        room[known] = room.get(known, 0) + 1

    def put(self, room_id: RoomId, who: Identity, sessions: int) -> None:
        """Set the number of a user's sessions, unless the room already has the user."""
        if sessions > 0 and (room_id, who.user_id) not in self._identities:
            self._identities[room_id, who.user_id] = who
            self._rooms.setdefault(room_id, {})[who] = sessions

    def take(self, room_id: RoomId, user_id: UserId) -> int:
        """Remove a session and return how many the user has left on this node."""
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

    The node counts from when it sends a renewal. Redis counts from when it runs the renewal, which is later. So a node
    stops relying on a seat before any other node can sweep it.
    """

    def __init__(self, ttl_s: float, now_s: float) -> None:
        self._ttl_s = ttl_s
        self._renewed_at_s = now_s

    def renewed(self, sent_at_s: float) -> None:
        """Record that a renewal sent at `sent_at_s` succeeded."""
        self._renewed_at_s = max(self._renewed_at_s, sent_at_s)

    def valid(self, now_s: float) -> bool:
        """Whether the lease is valid at `now_s`: until it ends, no other node can sweep this node's seats."""
        return now_s - self._renewed_at_s < self._ttl_s
