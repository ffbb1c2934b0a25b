"""What the use cases need from the outside, and what they may rely on. Adapters and fakes keep the same promises."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from room_contracts.codec import Frame
from room_contracts.ids import RoomId, UserId
from room_contracts.position import Position
from rooms_api.domain.message import LogEntry
from rooms_api.domain.room import Room


class Rooms(Protocol):
    """The rooms."""

    async def get(self, room_id: RoomId) -> Room | None:
        """The room as a majority has it now; None where there is none."""
        ...


class StoreUnavailableError(Exception):
    """The store cannot be reached; nothing was sent to it, or what was sent only read."""


class OutcomeUnknownError(Exception):
    """A write was sent and not confirmed: it may have happened, may yet happen, or may be taken back."""


@dataclass(frozen=True, slots=True)
class SeqTaken:
    """Another writer has the seq of the first entry that was not stored."""

    head: int
    """The log's head, no older than the entry that was in the way."""


@dataclass(frozen=True, slots=True)
class KeyTaken:
    """The first entry that was not stored is in the log already: same user, same key."""

    entry: LogEntry


@dataclass(frozen=True, slots=True)
class Appended:
    """How far an append got: the first `stored` entries are in the log, and what stopped the next."""

    stored: int
    conflict: SeqTaken | KeyTaken | None


class MessageLog(Protocol):
    """The rooms' logs.

    (room, seq) and (room, user, key) are unique. Whatever a method returns is held by a majority in its journal and
    survives a failover. Every method raises `StoreUnavailableError`.
    """

    async def head(self, room_id: RoomId) -> int:
        """The highest seq; 0 where there is no entry."""
        ...

    async def append(self, room_id: RoomId, entries: Sequence[LogEntry]) -> Appended:
        """Store `entries` one after the other and stop at the first that conflicts.

        Not atomic: at any time, and after any failure, what is stored is a beginning of `entries`.

        Raises:
            OutcomeUnknownError: how many were stored is not known.
        """
        ...

    async def find(
        self, room_id: RoomId, identities: Collection[tuple[UserId, str]]
    ) -> Mapping[tuple[UserId, str], LogEntry]:
        """The entries of these (user, key); those that are not there are left out."""
        ...

    async def last_posted(
        self, room_id: RoomId, user_ids: Collection[UserId], since: datetime
    ) -> Mapping[UserId, datetime]:
        """When each of the users last wrote a message after `since`; those who did not are left out."""
        ...

    async def redact(self, room_id: RoomId, seq: int) -> LogEntry | None:
        """Take text and GIF out of the message at `seq`; the same again is the same. None: no message is there.

        Raises:
            OutcomeUnknownError: perhaps it still shows.
        """
        ...

    async def after(self, room_id: RoomId, seq: int, limit: int) -> Sequence[LogEntry]:
        """The first `limit` entries above `seq`, in rising order."""
        ...

    async def before(self, room_id: RoomId, seq: int | None, limit: int) -> Sequence[LogEntry]:
        """The last `limit` entries below `seq` (None: of all), in rising order."""
        ...

    async def heads(self, room_ids: Collection[RoomId]) -> Mapping[RoomId, Position]:
        """Epoch and head of each of these rooms, in one query; rooms that do not exist are left out."""
        ...

    async def remove_room(self, room_id: RoomId) -> None:
        """Remove all entries of a room that is gone.

        Raises:
            OutcomeUnknownError: some may be left.
        """
        ...


class Publisher(Protocol):
    """Hands events to the gateways.

    At least once and in the order of the calls, as long as the process lives and its queue does not overflow; lost
    otherwise. Readers repair durable events from the log.
    """

    def publish(self, channel: str, frame: Frame) -> None:
        """Queue `frame` for `channel`; never waits, never raises."""
        ...
