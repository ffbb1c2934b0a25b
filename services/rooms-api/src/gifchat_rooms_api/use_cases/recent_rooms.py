"""Rooms as they were at most a tenth of a second ago, so that a busy room is not read again for every message.

How a ban stays exact on every replica: a copy of a room is used for at most `MAX_AGE_S`, counted from before it was
read. After a change is stored and before it is acknowledged, the use case awaits `outdate_copies`. So when the owner
gets the answer, no replica uses a copy from before the change.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from gifchat_contracts.ids import RoomId
from gifchat_rooms_api.domain.room import Room
from gifchat_rooms_api.ports import Rooms

MAX_AGE_S = 0.1
"""The same in every replica. An owner waits this long for the answer to a change, which is too short to notice."""
MAX_COPIES = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class _Copy:
    asked_at_s: float
    room: asyncio.Future[Room | None]


class RecentRooms:
    """`ports.Rooms` that keeps copies. Requests that need a room at the same time share one read."""

    def __init__(self, rooms: Rooms, clock_s: Callable[[], float]) -> None:
        """`clock_s` must go on while the machine is suspended, as `boot_time_s` does."""
        self._rooms = rooms
        self._clock_s = clock_s
        self._copies: OrderedDict[RoomId, _Copy] = OrderedDict()
        """Oldest read first."""

    async def get(self, room_id: RoomId) -> Room | None:
        """Return the room as a majority had it at most `MAX_AGE_S` before this call, or None if it did not exist.

        Raises:
            StoreUnavailableError: the room cannot be read.
        """
        copy = self._copies.get(room_id)
        if copy is None or self._clock_s() - copy.asked_at_s > MAX_AGE_S:
            copy = self._read(room_id)
        elif copy.room.done():
            return copy.room.result()
        # A caller that gives up must not cancel the read of the others.
        return await asyncio.shield(copy.room)

    def _read(self, room_id: RoomId) -> _Copy:
        copy = _Copy(self._clock_s(), asyncio.ensure_future(self._rooms.get(room_id)))
        self._copies[room_id] = copy
        self._copies.move_to_end(room_id)
        if len(self._copies) > MAX_COPIES:
            self._copies.popitem(last=False)

        def forget_failure(reading: asyncio.Future[Room | None]) -> None:
            if (reading.cancelled() or reading.exception()) and self._copies.get(room_id) is copy:
                del self._copies[room_id]

        copy.room.add_done_callback(forget_failure)
        return copy


async def outdate_copies() -> None:
    """Wait until no replica uses a copy of a room that was read before this call."""
    await asyncio.sleep(MAX_AGE_S)


def boot_time_s() -> float:
    """Return the seconds since the machine started, including the time that it was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
