"""What clients and the run write down, one JSON object a line, one file for each of them; and the dump of the database.

Times `t` are seconds of the system's monotonic clock: records of several processes on one machine compare.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self, TextIO, get_args

Source = Literal["live", "recent", "history"]
"""How an entry came: by the room's stream, in the ack of a join, or read back over HTTP after a reset."""
How = Literal["end", "left", "vanished"]
"""`end`: the run is over; `left`: said goodbye for good; `vanished`: gone for good without a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _At:
    t: float


# ------------------------------------------------------------------------------------------------------------- run
@dataclass(frozen=True, slots=True, kw_only=True)
class RoomMade(_At):
    """The run made a room with `max` seats."""

    room: str
    max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultBegan(_At):
    """From here on nothing is promised to be in time."""

    fault: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultEnded(_At):
    """The cause is gone: the system may heal. The times to heal count from here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy(_At):
    """What rooms-api says of a room's members."""

    room: str
    members: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Used(_At):
    """What a process used before the clients came and after they had gone."""

    process: str
    pid: int
    phase: Literal["before", "after"]
    rss_bytes: int
    files: int


# ---------------------------------------------------------------------------------------------------------- writers
@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt(_At):
    """A POST was sent; `number` from 1."""

    room: str
    key: str
    """The `client_message_id`."""
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Acked(_At):
    """201."""

    room: str
    key: str
    epoch: str
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAcked(_At):
    """Another answer, or none (`status` 0)."""

    room: str
    key: str
    status: int
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GaveUp(_At):
    """The writer had to stop before it got a 201: whether the message is stored is unknown to it."""

    room: str
    key: str


# ---------------------------------------------------------------------------------------------------------- readers
@dataclass(frozen=True, slots=True, kw_only=True)
class Begun(_At):
    """The first record of a reader."""

    room: str
    user: str
    transport: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected(_At):
    """A Socket.IO session in `/chat`."""

    gateway: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectFailed(_At):
    """An attempt to connect."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinSent(_At):
    """With the position that the reader has (an empty epoch: none)."""

    room: str
    epoch: str
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined(_At):
    """The ack of a join; `items` of `recent` follow as `Received`."""

    room: str
    epoch: str
    seq: int
    recovered: bool
    items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRefused(_At):
    """The ack of a join, or an eviction (`evicted`)."""

    room: str
    code: str
    retry: bool
    evicted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Received(_At):
    """A durable event, as it came; `room` is what the event says."""

    room: str
    event: str
    epoch: str
    seq: int
    key: str
    """The `client_message_id` of a message; empty in other events."""
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewBegan(_At):
    """The reader shows the room anew: entries above `seq` follow. `view` counts from 1."""

    view: int
    epoch: str
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied(_At):
    """An entry that the reader shows, after it has dropped what it had."""

    view: int
    epoch: str
    seq: int
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resync(_At):
    """The gateway said: drop what you show."""

    room: str
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence(_At):
    """Somebody came or went, as the room was told."""

    room: str
    event: Literal["join", "exit"]
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnected(_At):
    """The connection ended."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped(_At):
    """The last record of a reader."""

    how: How


Record = (
    (RoomMade | FaultBegan | FaultEnded | Occupancy | Used)
    | (Attempt | Acked | NotAcked | GaveUp)
    | (Begun | Connected | ConnectFailed | JoinSent | Joined | JoinRefused | Received | ViewBegan | Applied)
    | (Resync | Presence | Disconnected | Stopped)
)
_KINDS: Mapping[str, type[Any]] = {kind.__name__: kind for kind in get_args(Record)}


class Recorder:
    """Writes one client's records; each line is whole at once, so that a crash costs nothing that was written."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("w", encoding="utf-8", buffering=1)

    def write(self, record: Record) -> None:
        """Append one."""
        self._file.write(encode(record) + "\n")

    def close(self) -> None:
        """No more."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def now() -> float:
    """The `t` of a record that is made now."""
    return time.monotonic()


def encode(record: Record) -> str:
    """One line, without its end."""
    return json.dumps({"kind": type(record).__name__, **asdict(record)}, ensure_ascii=False, separators=(",", ":"))


def decode(line: str) -> Record:
    """The record of a line.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    fields = json.loads(line)
    record: Record = _KINDS[fields.pop("kind")](**fields)
    return record


def read(folder: Path) -> dict[str, list[Record]]:
    """Client → its records, in their order, of every `*.jsonl` in `folder`."""
    files = sorted(folder.glob("*.jsonl"))
    return {file.stem: [decode(line) for line in file.read_text(encoding="utf-8").splitlines()] for file in files}
