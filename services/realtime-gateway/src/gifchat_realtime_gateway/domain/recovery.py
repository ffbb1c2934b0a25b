"""Find the events that a returning client missed. It gets all of them or an explicit resync, never a part."""

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


class Ring:
    """The newest durable frames of a room, without a gap: all with a seq above `start`."""

    def __init__(self, start: int, frames: Sequence[Frame] = (), capacity: int = limits.RING_EVENTS) -> None:
        """The seqs of `frames` begin at `start` + 1."""
        self._capacity = capacity
        self._frames: deque[Frame] = deque(frames)
        self.start = start
        """The seq before the first frame."""
        self._deleted: dict[int, None] = {}
        """Seqs of deleted messages, in order of deletion. A frame read before the deletion may arrive after it."""

    @property
    def last(self) -> int:
        """The seq of the last frame."""
        return self.start + len(self._frames)

    @property
    def space(self) -> int:
        """How many older frames fit."""
        return self._capacity - len(self._frames)

    def append(self, frame: Frame) -> None:
        """Add the next frame. If the ring is full, drop the oldest one."""
        self._frames.append(frame)
        if len(self._frames) > self._capacity:
            self._frames.popleft()
            self.start += 1

    def extend_back(self, frames: Sequence[Frame]) -> None:
        """Add as many older frames as fit, newest first. They should end where the ring starts.

        Frames that do not connect are skipped, because the ring may have moved on since they were read.
        """
        for frame in reversed(frames):
            if len(self._frames) >= self._capacity:
                return
            if frame.seq == self.start:
                self._frames.appendleft(self._redacted(frame))
                self.start -= 1

    def since(self, seq: int) -> list[Frame] | None:
        """Return all frames above `seq`, or None if the ring does not reach back that far."""
        if seq < self.start:
            return None
        return list(islice(self._frames, seq - self.start, None))

    def newest(self, count: int) -> list[Frame]:
        """Return the last `count` frames."""
        return list(islice(self._frames, max(0, len(self._frames) - count), None))

    def redact(self, seq: int) -> None:
        """Remove the content of a deleted message, so that later clients do not get it."""
        at = seq - self.start - 1
        self._deleted.pop(seq, None)
        self._deleted[seq] = None
        if len(self._deleted) > self._capacity:
            del self._deleted[next(iter(self._deleted))]
        if 0 <= at < len(self._frames):
            self._frames[at] = self._redacted(self._frames[at])

    def redacted(self, frames: Iterable[Frame]) -> list[Frame]:
        """Return frames from the log, without the content of deleted messages."""
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
    """All frames that the client missed, in order."""

    frames: Sequence[Frame]


@dataclass(frozen=True, slots=True)
class Newest:
    """The end of the log, for a new client or one that cannot recover."""

    frames: Sequence[Frame]


class Wanting(Enum):
    """Why the answer needs another read."""

    OLDER = auto()
    """The ring does not reach back far enough."""
    NEWER = auto()
    """The client has seen more than this node."""


def recover(ring: Ring, at: Position, seen: Position | None) -> Recovered | Newest | Wanting:
    """Return the events for a client that has seen everything up to `seen` (None: nothing). The room is at `at`."""
    if seen is None or seen.epoch != at.epoch:
        return Newest(ring.newest(limits.RECENT_ON_JOIN))
    if seen.seq > at.seq:
        return Wanting.NEWER
    missed = ring.since(seen.seq)
    return Wanting.OLDER if missed is None else Recovered(missed)


def newest(ring: Ring) -> Newest:
    """Return the end of the log, as a fallback."""
    return Newest(ring.newest(limits.RECENT_ON_JOIN))


def items_of(frames: Sequence[Frame]) -> list[dict[str, Any]]:
    """Return the frames in the form that acks use: a list of `{"event": name, "data": payload}`."""
    items = []
    for frame in frames:
        event, payload = json.loads(frame.body)
        items.append({"event": event, "data": payload})
    return items
