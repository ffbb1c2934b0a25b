"""A room with members on this node: its stream, its newest events and its audience.

No I/O: the stream takes frames and decides what to do with them. `use_cases.repair_rooms` fills the gaps.
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
    """Deliver these frames. They follow the delivered ones without a gap."""

    frames: Sequence[Frame]


class Outcome(Enum):
    """Why a frame is not delivered now."""

    DUPLICATE = auto()
    """The frame was delivered before or is held."""
    GAP = auto()
    """The frame is held, because an earlier one is missing."""
    RESYNC = auto()
    """The epoch changed, or too many frames are held. The stream must be restarted."""


class Stream:
    """Puts durable frames in order and drops duplicates.

    The seqs of delivered frames rise by one, starting after the initial position.
    """

    def __init__(self, position: Position, max_held: int = MAX_HELD) -> None:
        self._epoch = position.epoch
        self._last = position.seq
        self._max_held = max_held
        self._held: dict[int, Frame] = {}

    @property
    def position(self) -> Position:
        """The position of the last delivered frame."""
        return Position(self._epoch, self._last)

    @property
    def has_gap(self) -> bool:
        """Whether frames are held because an earlier one is missing."""
        return bool(self._held)

    def forget_held(self) -> None:
        """Drop the held frames, because the missing one does not exist."""
        self._held.clear()

    def receive(self, frame: Frame) -> Deliver | Outcome:
        """Take a durable frame from the feed or the log."""
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
    """Sessions that receive the same events. After it is added, a session receives every event in order."""

    def add(self, sid: str) -> None:
        """Add a session; a no-op if it is not connected.

        A session that is already in the group is added again. It does not receive events that are still queued.
        """

    def discard(self, sid: str) -> None:
        """Remove a session. It receives no more events, not even queued ones."""

    def send(self, body: bytes, exclude: Collection[str] = ()) -> None:
        """Write one event, encoded as `["event",payload]`, to all but `exclude`. Never blocks, never raises."""


class Audience:
    """The sessions of one room on this node, by user."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._sessions: dict[str, Session] = {}
        self._sids: dict[UserId, set[str]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def add(self, session: Session) -> None:
        """Add a session. It receives the room's events from now on."""
        self._sessions[session.sid] = session
        self._group.add(session.sid)
        self._sids.setdefault(session.who.user_id, set()).add(session.sid)

    def discard(self, session: Session) -> None:
        """Remove a session. It receives no more events."""
        if self._sessions.pop(session.sid, None) is None:
            return
        self._group.discard(session.sid)
        sids = self._sids[session.who.user_id]
        sids.discard(session.sid)
        if not sids:
            del self._sids[session.who.user_id]

    def send(self, body: bytes, exclude: UserId | None = None) -> None:
        """Write an event to all sessions, except those of one user."""
        self._group.send(body, self.sids_of(exclude))

    def sids_of(self, user_id: UserId | None) -> Collection[str]:
        """Return the sids of one user."""
        return self._sids.get(user_id, ()) if user_id else ()

    def sessions(self) -> list[Session]:
        """Return all sessions."""
        return list(self._sessions.values())

    def sessions_of(self, user_id: UserId) -> list[Session]:
        """Return the sessions of one user."""
        return [self._sessions[sid] for sid in self._sids.get(user_id, ())]


class HostedRoom:
    """A room that this node hosts, from the first member's join until some time after the last one left."""

    def __init__(self, room_id: RoomId, record: RoomRecord, page: LogPage, group: Group, now_s: float) -> None:
        """`page` is the end of the log, read after subscribing to the room's channel.

        `group` is empty and belongs to this room. `now_s` is monotonic.
        """
        self.room_id = room_id
        self.record = record
        self.record_read_at_s: float | None = now_s
        """None if the record has changed since. It is reread before anybody is admitted."""
        self.used_at_s = now_s
        self.audience = Audience(group)
        self.occupancy: int = record.room["members"]
        """Members on all nodes, as far as this node knows."""
        self.start_stream(page)

    def start_stream(self, page: LogPage) -> None:
        """Start the stream at the end of `page`."""
        self.stream = Stream(Position(page.epoch, page.head))
        self.ring = Ring(page.head - len(page.frames), page.frames)
