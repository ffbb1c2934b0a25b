"""Read a room's log: pages for people, ranges for repair, and the heads of many rooms at once."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gifchat_contracts.ids import Epoch, RoomId
from gifchat_contracts.position import Position
from gifchat_rooms_api.domain.message import LogEntry, fitting
from gifchat_rooms_api.domain.room import Room
from gifchat_rooms_api.ports import MessageLog

HEADS_MAX_ROOMS = 1_000


@dataclass(frozen=True, slots=True)
class After:
    """The entries after `seq`."""

    seq: int


@dataclass(frozen=True, slots=True)
class Before:
    """The entries before `seq`; None means the newest."""

    seq: int | None


NEWEST: Final = Before(None)
Range = After | Before


@dataclass(frozen=True, slots=True)
class Page:
    """A contiguous part of a room's log, in ascending order."""

    room_id: RoomId
    epoch: Epoch
    head: int
    """At least the seq of the last entry; newer entries may follow at any time."""
    entries: Sequence[LogEntry]
    has_more: bool
    """Whether there are entries beyond the page, in the requested direction."""


@dataclass(frozen=True, slots=True)
class ReadHistory:
    """Reads only entries that a majority has."""

    log: MessageLog
    page_max_bytes: int
    """Bounds the time that the event loop, which also commits messages, spends on one page."""

    async def page(self, room: Room, wanted: Range, limit: int) -> Page:
        """Return at most `limit` entries of `room`, and fewer if these would take more than `page_max_bytes`.

        The caller has checked that the reader may see them.

        Raises:
            StoreUnavailableError: the log cannot be read.
        """
        match wanted:
            case After(seq):
                found = await self.log.after(room.room_id, seq, limit + 1, self.page_max_bytes)
                entries = fitting(found[:limit], self.page_max_bytes)
            case Before(seq):
                found = await self.log.before(room.room_id, seq, limit + 1, self.page_max_bytes)
                entries = fitting(found[: -limit - 1 : -1], self.page_max_bytes)[::-1]
        if wanted == NEWEST:
            # A second query could return a newer head, whose entry is not on this page.
            head = entries[-1].seq if entries else 0
        else:
            head = await self.log.head(room.room_id)
        return Page(room.room_id, room.epoch, head, entries, len(found) > len(entries))

    async def heads(self, room_ids: Collection[RoomId]) -> Mapping[RoomId, Position]:
        """Return the positions of at most `HEADS_MAX_ROOMS` rooms; rooms that do not exist are left out.

        Raises:
            StoreUnavailableError: the positions cannot be read.
        """
        return await self.log.heads(room_ids)
