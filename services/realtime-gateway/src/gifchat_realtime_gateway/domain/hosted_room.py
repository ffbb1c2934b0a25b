"""A room with members on this node: its stream, its newest events and its audience.

Pure: the stream takes frames and decides what to do with them. `use_cases.repair_rooms` fills the gaps.
"""

from collections.abc import Collection, Sequence
from enum import Enum, auto
from typing import NamedTuple, Protocol

from gifchat_contracts.codec import Frame
from gifchat_contracts.ids import RoomId, UserId
from gifchat_contracts.position import Position
from gifchat_realtime_gateway.domain.recovery import Ring
from gifchat_realtime_gateway.domain.room_record import LogPage, RoomRecord
from gifchat_realtime_gateway.domain.session import Session

MAX_HELD = 1_024


class Deliver(NamedTuple):
    """These frames follow what was delivered before, without a hole."""

    frames: Sequence[Frame]


class Outcome(Enum):
    """What else can come of a frame."""

    DUPLICATE = auto()
    """It was delivered, or is held, already."""
    GAP = auto()
    """Something before it is missing; it is held."""
    RESYNC = auto()
    """Another numbering, or too much is missing: nothing that is held helps any more."""


class Stream:
    """Puts durable frames in order, exactly once.

    Everything that `receive` hands out has seqs that rise by one, starting after the position it began with.
    """

    def __init__(self, position: Position, max_held: int = MAX_HELD) -> None:
        self._epoch = position.epoch
        self._last = position.seq
        self._max_held = max_held
        self._held: dict[int, Frame] = {}

    @property
    def position(self) -> Position:
        """Where delivery has got to."""
        return Position(self._epoch, self._last)

    @property
    def has_gap(self) -> bool:
        """Whether something is held because something before it is missing."""
        return bool(self._held)

    def forget_held(self) -> None:
        """What is held follows something that does not exist."""
        self._held.clear()

    def receive(self, frame: Frame) -> Deliver | Outcome:
        """Take a durable frame, from the feed or from the log."""
        if frame.epoch != self._epoch:
            return Outcome.RESYNC
        if frame.seq != self._last + 1:
            return self._out_of_turn(frame)
        ready = [frame]
        self._last = frame.seq
        while (following := self._held.pop(self._last + 1, None)) is not None:
            ready.append(following)
            self._last = following.seq
        return Deliver(ready)

    def _out_of_turn(self, frame: Frame) -> Outcome:
        if frame.seq <= self._last or frame.seq in self._held:
            return Outcome.DUPLICATE
        if len(self._held) >= self._max_held:
            return Outcome.RESYNC
        self._held[frame.seq] = frame
        return Outcome.GAP


class Group(Protocol):
    """Sessions that are written to at once. Who is added hears what is sent from then on, in order."""

    def add(self, sid: str) -> None:
        """A session more; one that is not connected is left out.

        One that is there already comes anew: what was sent and is not written yet is not for it any more.
        """
        ...

    def discard(self, sid: str) -> None:
        """A session less: it hears nothing more, not even what was sent and is not written yet."""
        ...

    def send(self, body: bytes, exclude: Collection[str] = ()) -> None:
        """Write one event, the ready JSON `["event",payload]`, to all but some. Never waits, never raises."""
        ...


class Audience:
    """The sessions of this node in one room, by user."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._sessions: dict[str, Session] = {}
        self._sids: dict[UserId, set[str]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def add(self, session: Session) -> None:
        """From now on the session hears the room."""
        self._sessions[session.sid] = session
        self._group.add(session.sid)
        self._sids.setdefault(session.who.user_id, set()).add(session.sid)

    def discard(self, session: Session) -> None:
        """The session hears the room no more."""
        if self._sessions.pop(session.sid, None) is None:
            return
        self._group.discard(session.sid)
        sids = self._sids[session.who.user_id]
        sids.discard(session.sid)
        if not sids:
            del self._sids[session.who.user_id]

    def send(self, body: bytes, exclude: UserId | None = None) -> None:
        """Write an event to everybody, or to everybody but one user."""
        self._group.send(body, self.sids_of(exclude))

    def sids_of(self, user_id: UserId | None) -> Collection[str]:
        """One user."""
        return self._sids.get(user_id, ()) if user_id else ()

    def sessions(self) -> list[Session]:
        """Everybody, at this moment."""
        return list(self._sessions.values())

    def sessions_of(self, user_id: UserId) -> list[Session]:
        """One user, at this moment."""
        return [self._sessions[sid] for sid in self._sids.get(user_id, ())]


class HostedRoom:
    """Made when the first member comes; forgotten some time after the last one has gone."""

    def __init__(self, room_id: RoomId, record: RoomRecord, page: LogPage, group: Group, now_s: float) -> None:
        """`page` is the end of the log, read after the node began to hear the room's channel.

        `group` is empty, and this room's alone; `now_s` is monotonic.
        """
        self.room_id = room_id
        self.record = record
        self.record_read_at_s: float | None = now_s
        """None: it changed since; it is to be read again before somebody is admitted by it."""
        self.used_at_s = now_s
        self.audience = Audience(group)
        self.occupancy: int = record.room["members"]
        """Members over all nodes, as far as this node has heard."""
        self.start_stream(page)

    def start_stream(self, page: LogPage) -> None:
        """Begin at the end of `page`."""
        self.stream = Stream(Position(page.epoch, page.head))
        self.ring = Ring(page.head - len(page.frames), page.frames)
