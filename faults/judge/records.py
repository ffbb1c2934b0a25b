"""The records of clients and of the run: a file of JSON lines for each client.

Times `t` are seconds of the system's monotonic clock, so records of several processes can be compared.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self, TextIO, get_args

Source = Literal["live", "recent", "history"]
"""The source of an entry: the live stream, the ack of a join, or history over HTTP after a reset."""
How = Literal["end", "left", "vanished"]
"""`end`: the run is over; `left`: left with a closing handshake; `vanished`: left without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _At:
    t: float


# ------------------------------------------------------------------------------------------------------------- run
@dataclass(frozen=True, slots=True, kw_only=True)
class RoomMade(_At):
    """The run created a room with `max` seats. Its owner may enter it even if it is full."""

    room: str
    max: int
    owner: str
    """The owner's user id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultBegan(_At):
    """The fault begins."""

    fault: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultEnded(_At):
    """The cause is gone; the time to heal counts from here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy(_At):
    """The occupancy that rooms-api reports."""

    room: str
    members: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Used(_At):
    """A process's resources, before the clients connected and after they left."""

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
    """The server answered 201."""

    room: str
    key: str
    epoch: str
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAcked(_At):
    """Any other answer; `status` 0 if there was none."""

    room: str
    key: str
    status: int
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GaveUp(_At):
    """The writer had to stop before a 201, so it does not know whether the message is stored."""

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
    """The reader opened a Socket.IO session in `/chat`."""

    gateway: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectFailed(_At):
    """An attempt to connect failed."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinSent(_At):
    """A join with the reader's position; an empty epoch means no position."""

    room: str
    epoch: str
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined(_At):
    """The positive ack of a join; its `items` recent entries follow as `Received`."""

    room: str
    epoch: str
    seq: int
    recovered: bool
    items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRefused(_At):
    """The negative ack of a join, a missing ack (code `no_ack`), or an eviction (`evicted`)."""

    room: str
    code: str
    retry: bool
    evicted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Received(_At):
    """A durable event as received; `room` is the event's own field."""

    room: str
    event: str
    epoch: str
    seq: int
    key: str
    """The `client_message_id` of a message; empty in other events."""
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewBegan(_At):
    """The reader starts a new view of the room with the entries after `seq`. `view` counts from 1."""

    view: int
    epoch: str
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied(_At):
    """An entry that the reader shows. The reader has already dropped duplicates."""

    view: int
    epoch: str
    seq: int
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resync(_At):
    """The gateway told the reader to drop what it shows."""

    room: str
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence(_At):
    """A join or leave event in the room."""

    room: str
    event: Literal["join", "exit"]
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnected(_At):
    """The connection was lost or closed."""

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
    """Writes one client's records, line by line without buffering, so that a crash loses no complete record."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("w", encoding="utf-8", buffering=1)

    def write(self, record: Record) -> None:
        """Append a record."""
        self._file.write(encode(record) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def now() -> float:
    """Return the current time, for the field `t` of a record."""
    return time.monotonic()


def encode(record: Record) -> str:
    """Encode a record as a line, without the line end."""
    return json.dumps({"kind": type(record).__name__, **asdict(record)}, ensure_ascii=False, separators=(",", ":"))


def decode(line: str) -> Record:
    """Decode a line.

    Raises:
        ValueError, KeyError, TypeError: the line is not a record.
    """
    fields = json.loads(line)
    record: Record = _KINDS[fields.pop("kind")](**fields)
    return record


def read(folder: Path) -> dict[str, list[Record]]:
    """Read every `*.jsonl` in `folder`; return client → records in order."""
    files = sorted(folder.glob("*.jsonl"))
    return {file.stem: [decode(line) for line in file.read_text(encoding="utf-8").splitlines()] for file in files}
