"""Fill gaps: one range read per room and node, however many members wait for it."""

import asyncio
import random
from collections.abc import Collection, Iterable, Mapping

import structlog

from gifchat_contracts import limits
from gifchat_contracts.codec import Frame
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import RoomId
from gifchat_contracts.position import Position
from gifchat_realtime_gateway import metrics
from gifchat_realtime_gateway.domain.hosted_room import HostedRoom
from gifchat_realtime_gateway.ports import HistoryUnavailableError, RoomHistory
from gifchat_realtime_gateway.use_cases.fan_out import Delivery, FanOut

PATIENCE_S = 0.05
"""Two replicas of rooms-api may publish in another order than they committed: most gaps close by themselves."""
MAX_BACKOFF_S = 2.0
MAX_MISSING = 2_000
"""A node that missed more of a room starts it anew: its readers load the newest page faster than all of it."""
MAX_NOTHING = 8
"""What the channel announced and the log still does not have after so many reads (some 10 s) was never written."""
CHECK_EVERY_S = 0.25
"""Rooms whose seats are being won back are behind, and are to hear at once when they are."""
RETRY_AFTER_S = 1.0
HEADS_AT_ONCE = 1_000

_log = structlog.get_logger(__name__)


class _NothingThereError(Exception):
    """The log does not have what the channel announced."""


class RepairRooms:
    """Brings rooms up to their heads in rooms-api, and passes on what they missed."""

    def __init__(self, history: RoomHistory, fan_out: FanOut, rooms: Mapping[RoomId, HostedRoom]) -> None:
        self._history = history
        self._fan_out = fan_out
        self._rooms = rooms
        self._heads: dict[HostedRoom, Position] = {}
        """How far rooms are known to go, of those that are being repaired."""
        self._repairs: dict[HostedRoom, asyncio.Task[None]] = {}
        self._reaching: dict[HostedRoom, asyncio.Task[None]] = {}
        self._behind: set[RoomId] = set()
        self._wake = asyncio.Event()

    def gap(self, room: HostedRoom) -> None:
        """Something is missing in the room; harmless if it is being repaired already."""
        self._start(room, PATIENCE_S)

    def behind(self, room_ids: Iterable[RoomId]) -> None:
        """These rooms may have missed something, their last message included: ask for their heads soon."""
        self._behind.update(room_ids)
        self._wake.set()

    def announced(self, room: HostedRoom, frame: Frame) -> None:
        """rooms-api says how far the room is: so a lost last message shows too."""
        if frame.epoch is not None:
            self._compare(room.room_id, Position(frame.epoch, frame.seq), PATIENCE_S)

    async def reach(self, room: HostedRoom, seq: int) -> None:
        """Return when the room has got to `seq`, or it is known that it cannot. Who waits at once shares one read.

        Raises:
            HistoryUnavailableError: rooms-api cannot be asked.
        """
        others = self._reaching.get(room)
        if others is not None:
            await asyncio.shield(others)
        if room.stream.position.seq >= seq:
            return
        reading = self._reaching.get(room)
        if reading is None:
            reading = self._reaching[room] = asyncio.create_task(self._catch_up(room), name=f"reach {room.room_id}")
        await asyncio.shield(reading)

    async def check_heads(self, room_ids: Collection[RoomId]) -> None:
        """Compare these rooms with their heads, in one request, and repair those that are behind.

        Raises:
            HistoryUnavailableError: rooms-api cannot be asked.
        """
        hosted = [room_id for room_id in room_ids if room_id in self._rooms]
        for at in range(0, len(hosted), HEADS_AT_ONCE):
            heads = await self._history.heads(hosted[at : at + HEADS_AT_ONCE])
            for room_id, head in heads.items():
                self._compare(room_id, head, 0.0)

    async def run(self) -> None:
        """Check the rooms that may be behind, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            room_ids = {room_id for room_id in self._behind if self._fan_out.serves(room_id)}
            self._behind -= room_ids
            pause_s = CHECK_EVERY_S
            try:
                await self.check_heads(room_ids)
            except HistoryUnavailableError as error:
                _log.warning("heads_not_read", rooms=len(room_ids), error=str(error))
                self._behind |= room_ids
                pause_s = RETRY_AFTER_S
            await asyncio.sleep(pause_s)
            if self._behind:
                self._wake.set()

    async def aclose(self) -> None:
        """Give up what is being repaired."""
        while self._repairs:
            for task in self._repairs.values():
                task.cancel()
            await asyncio.wait(self._repairs.values(), timeout=0.1)

    async def _catch_up(self, room: HostedRoom) -> None:
        try:
            page = await self._history.after(room.room_id, room.stream.position.seq, limits.HISTORY_PAGE_MAX)
        finally:
            del self._reaching[room]
        if page.epoch == room.stream.position.epoch:
            for frame in page.frames:
                self._fan_out.durable(room, frame)

    def _compare(self, room_id: RoomId, head: Position, patience_s: float) -> None:
        room = self._rooms.get(room_id)
        if room is None:
            return
        at = room.stream.position
        if head.epoch != at.epoch or head.seq > at.seq:
            self._heads[room] = head
            self._start(room, patience_s)

    def _start(self, room: HostedRoom, patience_s: float) -> None:
        running = self._repairs.get(room)
        # One that has ended is not told of at once, and does nothing for what comes now.
        if running is not None and not running.done():
            return
        task = asyncio.create_task(self._repair(room, patience_s), name=f"repair {room.room_id}")
        self._repairs[room] = task
        task.add_done_callback(lambda ended: self._ended(room, ended))

    def _ended(self, room: HostedRoom, ended: asyncio.Task[None]) -> None:
        if self._repairs.get(room) is ended:
            del self._repairs[room]
            self._heads.pop(room, None)

    async def _repair(self, room: HostedRoom, patience_s: float) -> None:
        await asyncio.sleep(patience_s)
        backoff_s = PATIENCE_S
        found_nothing = 0
        while self._rooms.get(room.room_id) is room and self._is_behind(room):
            try:
                if not await self._read_on(room):
                    return
                backoff_s = PATIENCE_S
            except _NothingThereError:
                found_nothing += 1
                if found_nothing > MAX_NOTHING:
                    _log.warning("gap_given_up", room=room.room_id, seq=room.stream.position.seq)
                    room.stream.forget_held()
                    return
                await asyncio.sleep(backoff_s)
                backoff_s = min(MAX_BACKOFF_S, backoff_s * 2)
            except HistoryUnavailableError as error:
                _log.warning("repair_waits", room=room.room_id, error=str(error))
                await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                backoff_s = min(MAX_BACKOFF_S, backoff_s * 2)
            except Refused:
                return

    def _is_behind(self, room: HostedRoom) -> bool:
        head = self._heads.get(room)
        at = room.stream.position
        return room.stream.has_gap or (head is not None and (head.epoch != at.epoch or head.seq > at.seq))

    async def _read_on(self, room: HostedRoom) -> bool:
        """One page; False where there is nothing more to be done by reading."""
        at = room.stream.position
        page = await self._history.after(room.room_id, at.seq, limits.HISTORY_PAGE_MAX)
        metrics.REPAIRS.inc()
        if page.epoch != at.epoch or page.head - at.seq > MAX_MISSING:
            await self._restart(room)
            return False
        for frame in page.frames:
            if self._fan_out.durable(room, frame) is Delivery.NOT_SERVED:
                self.behind([room.room_id])
                return False
        # What the channel announced is not in the log: a majority may not have it yet, or never will.
        if room.stream.position == at:
            raise _NothingThereError
        return True

    async def _restart(self, room: HostedRoom) -> None:
        page = await self._history.newest(room.room_id, limits.RECENT_ON_JOIN)
        room.start_stream(page)
        room.record_read_at_s = None
        metrics.RESYNCS.inc()
        self._fan_out.resync(room)
        # What came while the page was read was put to the old stream.
        self.behind([room.room_id])
