"""Reading a room's log: pages for people, ranges for repair, heads for many rooms at once."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import Epoch, RoomId
from gifchat_contracts.position import Position
from gifchat_rooms_api.domain.message import LogEntry
from gifchat_rooms_api.domain.room import Room
from gifchat_rooms_api.ports import MessageLog, StoreUnavailableError

HEADS_MAX_ROOMS = 1_000


@dataclass(frozen=True, slots=True)
class After:
    """What follows `seq`."""

    seq: int


@dataclass(frozen=True, slots=True)
class Before:
    """What precedes `seq`."""

    seq: int


@dataclass(frozen=True, slots=True)
class Newest:
    """The end of the log."""


Range = After | Before | Newest


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a room's log without holes, in rising order."""

    room_id: RoomId
    epoch: Epoch
    head: int
    """At least the seq of the last entry; entries above it may follow at any time."""
    entries: Sequence[LogEntry]
    has_more: bool
    """Whether there are entries beyond the page, in the direction in which it was asked for."""


class History:
    """Reads what a majority has, and nothing else."""

    def __init__(self, log: MessageLog) -> None:
        self._log = log

    async def page(self, room: Room, wanted: Range, limit: int) -> Page:
        """At most `limit` entries of `room`; whoever calls has checked that the reader may see them.

        Raises:
            Refused: `UNAVAILABLE`.
        """
        try:
            match wanted:
                case After(seq):
                    found = await self._log.after(room.room_id, seq, limit + 1)
                    entries = found[:limit]
                case Before(seq):
                    found = await self._log.before(room.room_id, seq, limit + 1)
                    entries = found[-limit:]
                case Newest():
                    found = await self._log.before(room.room_id, None, limit + 1)
                    entries = found[-limit:]
            if isinstance(wanted, Newest):
                # Not asked for apart: an entry that comes in between would be in the head, and not on the page.
                head = entries[-1].seq if entries else 0
            else:
                head = await self._log.head(room.room_id)
        except StoreUnavailableError as error:
            raise Refused(errors.UNAVAILABLE) from error
        return Page(room.room_id, room.epoch, head, entries, len(found) > limit)

    async def heads(self, room_ids: Collection[RoomId]) -> Mapping[RoomId, Position]:
        """The positions of at most `HEADS_MAX_ROOMS` rooms; rooms that do not exist are left out.

        Raises:
            Refused: `UNAVAILABLE`.
        """
        try:
            return await self._log.heads(room_ids)
        except StoreUnavailableError as error:
            raise Refused(errors.UNAVAILABLE) from error
