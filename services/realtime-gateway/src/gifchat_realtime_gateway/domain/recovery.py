"""What a returning client missed: all of it, or an explicit resync; never a part."""

import json
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import islice
from typing import Any

from gifchat_contracts import limits
from gifchat_contracts.codec import Frame
from gifchat_contracts.position import Position

LogItem = dict[str, Any]
"""`{"event": name, "data": payload}`, as in a page of the history."""


class Ring:
    """The newest durable frames of a room, without a hole: all above `start`."""

    def __init__(self, start: int, frames: Sequence[Frame] = (), capacity: int = limits.RING_EVENTS) -> None:
        """`frames` have the seqs from `start` + 1 on."""
        self._capacity = capacity
        self._frames: deque[Frame] = deque(frames)
        self._start = start
        self._deleted: dict[int, None] = {}
        """Seqs, the latest deletions last: older frames may be read before a deletion, and come after it."""

    @property
    def start(self) -> int:
        """The seq before the first frame."""
        return self._start

    @property
    def last(self) -> int:
        """The seq of the last frame."""
        return self._start + len(self._frames)

    @property
    def space(self) -> int:
        """How many older frames it could take."""
        return self._capacity - len(self._frames)

    def append(self, frame: Frame) -> None:
        """The next frame; above the capacity the oldest one goes."""
        self._frames.append(frame)
        if len(self._frames) > self._capacity:
            self._frames.popleft()
            self._start += 1

    def extend_back(self, frames: Sequence[Frame]) -> None:
        """Older frames that end where the ring starts; as many of them, the newest first, as there is space for.

        What does not end there (the ring has moved on meanwhile) is left out.
        """
        for frame in reversed(frames):
            if len(self._frames) >= self._capacity:
                return
            if frame.seq == self._start:
                self._frames.appendleft(self._redacted(frame))
                self._start -= 1

    def since(self, seq: int) -> list[Frame] | None:
        """Everything above `seq`; None where the ring does not reach back so far."""
        if seq < self._start:
            return None
        return list(islice(self._frames, seq - self._start, None))

    def newest(self, count: int) -> list[Frame]:
        """The last `count` frames."""
        return list(islice(self._frames, max(0, len(self._frames) - count), None))

    def redact(self, seq: int) -> None:
        """The message at `seq` was deleted: who comes later must not be shown its content."""
        at = seq - self._start - 1
        self._deleted.pop(seq, None)
        self._deleted[seq] = None
        if len(self._deleted) > self._capacity:
            del self._deleted[next(iter(self._deleted))]
        if 0 <= at < len(self._frames):
            self._frames[at] = self._redacted(self._frames[at])

    def redacted(self, frames: Iterable[Frame]) -> list[Frame]:
        """Frames read from the log, without the content of what was deleted since."""
        return [self._redacted(frame) for frame in frames]

    def _redacted(self, frame: Frame) -> Frame:
        if frame.seq not in self._deleted:
            return frame
        event, payload = json.loads(frame.body)
        for content in ("chat", "gif", "gif_info"):
            payload.pop(content, None)
        payload["deleted"] = True
        return frame._replace(body=json.dumps([event, payload], ensure_ascii=False, separators=(",", ":")).encode())


@dataclass(frozen=True, slots=True)
class Recovered:
    """All that was missed, in order."""

    frames: Sequence[Frame]


@dataclass(frozen=True, slots=True)
class Newest:
    """The end of the log: for who is new, or cannot be helped otherwise."""

    frames: Sequence[Frame]


class Wanting(Enum):
    """Why it cannot be said yet."""

    OLDER = auto()
    """The ring does not reach back so far."""
    NEWER = auto()
    """The client has seen more than this node."""


def recover(ring: Ring, at: Position, seen: Position | None) -> Recovered | Newest | Wanting:
    """What a client that has seen everything up to `seen` (None: nothing) is to get of a room that is at `at`."""
    if seen is None or seen.epoch != at.epoch:
        return Newest(ring.newest(limits.RECENT_ON_JOIN))
    if seen.seq > at.seq:
        return Wanting.NEWER
    missed = ring.since(seen.seq)
    return Wanting.OLDER if missed is None else Recovered(missed)


def newest(ring: Ring) -> Newest:
    """What to fall back on."""
    return Newest(ring.newest(limits.RECENT_ON_JOIN))


def items_of(frames: Sequence[Frame]) -> list[LogItem]:
    """The frames as a client gets them in an ack."""
    items = []
    for frame in frames:
        event, payload = json.loads(frame.body)
        items.append({"event": event, "data": payload})
    return items
