"""Fill gaps with one range read per room and node, however many members the room has."""

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

GAP_DELAY_S = 0.05
"""Wait before filling a gap. Two replicas of rooms-api may publish out of order, so most gaps close by themselves."""
MAX_BACKOFF_S = 2.0
MAX_MISSING = 2_000
"""A node that missed more events restarts the stream: its clients load the newest page faster than all those events."""
MAX_EMPTY_READS = 8
"""If the log still lacks an announced event after more reads than this (about 7 s), it was never written."""
CHECK_EVERY_S = 0.25
"""Short, because rooms whose seats are won back should catch up at once."""
RETRY_AFTER_S = 1.0
HEADS_PER_REQUEST = 1_000

_log = structlog.get_logger(__name__)


class _EmptyReadError(Exception):
    """The log does not have the event that the channel announced."""


class RepairRooms:
    """Brings rooms up to their heads in rooms-api, and delivers what they missed."""

    def __init__(self, history: RoomHistory, fan_out: FanOut, rooms: Mapping[RoomId, HostedRoom]) -> None:
        self._history = history
        self._fan_out = fan_out
        self._rooms = rooms
        self._heads: dict[HostedRoom, Position] = {}
        """Known heads of the rooms that are being repaired."""
        self._repairs: dict[HostedRoom, asyncio.Task[None]] = {}
        self._reaching: dict[HostedRoom, asyncio.Task[None]] = {}
        self._behind: set[RoomId] = set()
        self._wake = asyncio.Event()

    def gap(self, room: HostedRoom) -> None:
        """Repair the room soon, because an event is missing. A no-op if a repair is running."""
        self._start(room, GAP_DELAY_S)

    def behind(self, room_ids: Iterable[RoomId]) -> None:
        """Ask for the heads of these rooms soon, because they may have missed events, even their last one."""
        self._behind.update(room_ids)
        self._wake.set()

    def announced(self, room: HostedRoom, frame: Frame) -> None:
        """Compare the room with a head that rooms-api announced. This reveals a lost last message."""
        if frame.epoch is not None:
            self._compare(room.room_id, Position(frame.epoch, frame.seq), GAP_DELAY_S)

    async def reach(self, room: HostedRoom, seq: int) -> None:
        """Read and deliver the log until the room reaches `seq`, or the log ends. Concurrent callers share the reads.

        Raises:
            HistoryUnavailableError: rooms-api is down.
        """
        others = self._reaching.get(room)
        if others is not None:
            await asyncio.shield(others)
        if room.stream.position.seq >= seq:
            return
        reading = self._reaching.get(room)
        if reading is None:
            reading = self._reaching[room] = asyncio.create_task(
                self._catch_up(room, seq), name=f"reach {room.room_id}"
            )
        await asyncio.shield(reading)

    async def check_heads(self, room_ids: Collection[RoomId]) -> None:
        """Compare these rooms with their heads, in one request, and repair those that are behind.

        Raises:
            HistoryUnavailableError: rooms-api is down.
        """
        hosted = [room_id for room_id in room_ids if room_id in self._rooms]
        for at in range(0, len(hosted), HEADS_PER_REQUEST):
            heads = await self._history.heads(hosted[at : at + HEADS_PER_REQUEST])
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
        """Cancel the running repairs."""
        while self._repairs:
            for task in self._repairs.values():
                task.cancel()
            await asyncio.wait(self._repairs.values(), timeout=0.1)

    async def _catch_up(self, room: HostedRoom, seq: int) -> None:
        try:
            while (at := room.stream.position).seq < seq:
                page = await self._history.after(room.room_id, at.seq, limits.HISTORY_PAGE_MAX)
                if page.epoch != at.epoch:
                    return
                for frame in page.frames:
                    self._fan_out.durable(room, frame)
                if room.stream.position == at or room.stream.position.seq >= page.head:
                    return
        finally:
            del self._reaching[room]

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
        # The callback of a finished task runs one loop turn later, and a finished repair fills no new gap.
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
        backoff_s = GAP_DELAY_S
        empty_reads = 0
        while self._rooms.get(room.room_id) is room and self._is_behind(room):
            try:
                if not await self._read_on(room):
                    return
                backoff_s = GAP_DELAY_S
            except _EmptyReadError:
                empty_reads += 1
                if empty_reads > MAX_EMPTY_READS:
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
        """Read and deliver one page. Return False if more reading does not help."""
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
        # A majority of MongoDB may not have the announced event yet, or may never get it.
        if room.stream.position == at:
            raise _EmptyReadError
        return True

    async def _restart(self, room: HostedRoom) -> None:
        page = await self._history.newest(room.room_id, limits.RECENT_ON_JOIN)
        room.start_stream(page)
        room.record_read_at_s = None
        metrics.RESYNCS.inc()
        self._fan_out.resync(room)
        # Frames that arrived during the read went to the old stream.
        self.behind([room.room_id])
