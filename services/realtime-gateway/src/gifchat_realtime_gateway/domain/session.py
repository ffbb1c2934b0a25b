"""One connected client in `/chat`: its user, its rooms and its budget."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId
from gifchat_contracts.languages import Language

EVENT_BURST = 40
EVENTS_PER_S = 10.0
TYPING_EVERY_S = 1.0


class Budget:
    """A token bucket for the events of one connection."""

    __slots__ = ("__weakref__", "_at_once", "_at_s", "_per_s", "_tokens", "spent")

    def __init__(self, at_once: float = EVENT_BURST, per_s: float = EVENTS_PER_S) -> None:
        self._at_once = at_once
        self._per_s = per_s
        self._tokens = at_once
        self._at_s: float | None = None
        self.spent = False
        """Whether the last attempt found no token."""

    def spend(self, now_s: float) -> bool:
        """Take one token, or return False if there is none. `now_s` is monotonic."""
        if self._at_s is not None:
            self._tokens = min(self._at_once, self._tokens + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        self.spent = self._tokens < 1
        if self.spent:
            return False
        self._tokens -= 1
        return True


@dataclass(frozen=True, slots=True)
class Admitted:
    """When a session was admitted to a room, and with which password."""

    at: datetime
    access_version: int


@dataclass(eq=False, slots=True)
class Session:
    """A Socket.IO session. Two tabs of one user are two sessions."""

    sid: str
    who: Identity
    language: Language
    address: str = ""
    """The client's address in the form that limits use: an IPv4 address or an IPv6 network."""
    guest: bool = False
    """Whether the user has no session cookie."""
    rooms: set[RoomId] = field(default_factory=set)
    """Rooms in which this session has a seat."""
    admissions: dict[RoomId, Admitted] = field(default_factory=dict)
    connected: bool = True
    budget: Budget = field(default_factory=Budget)
    typed_at_s: float | None = None
    on_change: Callable[["Session"], None] | None = None
    """Called after the session has entered or left a room."""
    on_left: Callable[["Session", RoomId], None] | None = None
    """Called after the session has left a room that it was in."""

    def enter(self, room_id: RoomId, admitted: Admitted) -> None:
        """Add a room."""
        self.rooms.add(room_id)
        self.admissions[room_id] = admitted
        if self.on_change is not None:
            self.on_change(self)

    def leave(self, room_id: RoomId) -> None:
        """Remove a room."""
        was_in = room_id in self.rooms
        self.rooms.discard(room_id)
        self.admissions.pop(room_id, None)
        if was_in and self.on_left is not None:
            self.on_left(self, room_id)
        if self.on_change is not None:
            self.on_change(self)

    def may_tell_typing(self, now_s: float) -> bool:
        """Return whether to forward a typing event of this session now, and if so, record it. `now_s` is monotonic."""
        if self.typed_at_s is not None and now_s - self.typed_at_s < TYPING_EVERY_S:
            return False
        self.typed_at_s = now_s
        return True
