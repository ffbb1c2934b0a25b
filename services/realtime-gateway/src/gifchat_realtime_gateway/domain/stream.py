"""A hosted room's place in its log: in order, duplicate, or a gap before it.

Pure: it takes frames and says what to do with them. Filling a gap is `use_cases.repair_rooms`.
"""

from collections.abc import Sequence
from enum import Enum, auto
from typing import NamedTuple

from gifchat_contracts.codec import Frame
from gifchat_contracts.position import Position

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
