"""Host rooms: subscribe to their channels, keep their newest events, and refresh their records."""

import asyncio
import time
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field

import structlog

from gifchat_contracts import errors, keys, limits
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import RoomId
from gifchat_realtime_gateway import metrics
from gifchat_realtime_gateway.domain.hosted_room import Group, HostedRoom
from gifchat_realtime_gateway.domain.room_record import RoomRecord
from gifchat_realtime_gateway.domain.unknown_rooms import UnknownRooms
from gifchat_realtime_gateway.ports import Feed, HistoryUnavailableError, RoomHistory
from gifchat_realtime_gateway.use_cases.evict_sessions import EvictSessions
from gifchat_realtime_gateway.use_cases.frame_router import FrameRouter

LINGER_S = 30.0
"""How long to keep a room without sessions, because a reloaded page rejoins soon. Longer than any join takes."""
RECORD_MAX_AGE_S = 30.0
"""A ban whose event was lost takes effect within this time plus `PERIOD_S`."""
PERIOD_S = 5.0
RECORDS_PER_REQUEST = 200

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, eq=False)
class HostRooms:
    """Opens a room for its first session on this node, and closes it some time after the last one left."""

    feed: Feed
    history: RoomHistory
    rooms: MutableMapping[RoomId, HostedRoom]
    """The hosted rooms. Other use cases read them; only this one changes them."""
    router: FrameRouter
    evict: EvictSessions
    new_group: Callable[[], Group]
    unknown: UnknownRooms
    linger_s: float = LINGER_S
    clock: Callable[[], float] = time.monotonic
    _opening: dict[RoomId, asyncio.Task[HostedRoom]] = field(default_factory=dict, init=False)
    _reading: dict[HostedRoom, asyncio.Task[None]] = field(default_factory=dict, init=False)

    async def host(self, room_id: RoomId) -> HostedRoom:
        """Return the room, and open it if necessary. Concurrent calls share one opening.

        Raises:
            Refused: `ROOM_NOT_FOUND`.
            FeedUnavailableError: the room's channel cannot be subscribed.
            HistoryUnavailableError: rooms-api is down.
        """
        room = self.rooms.get(room_id)
        if room is None:
            if self.unknown.has(room_id, self.clock()):
                raise Refused(errors.ROOM_NOT_FOUND)
            opening = self._opening.get(room_id)
            if opening is None:
                opening = asyncio.create_task(self._open(room_id), name=f"open {room_id}")
                self._opening[room_id] = opening
                opening.add_done_callback(lambda _task: self._opening.pop(room_id, None))
            # Shielded: the first caller may be cancelled while others still wait.
            room = await asyncio.shield(opening)
        room.used_at_s = self.clock()
        return room

    def must_open(self, room_id: RoomId) -> bool:
        """Return whether `host` would have to ask rooms-api for the room."""
        known = room_id in self.rooms or room_id in self._opening
        return not known and not self.unknown.has(room_id, self.clock())

    async def record(self, room: HostedRoom) -> RoomRecord:
        """Return the room's record. Rereads it first if it is outdated. Concurrent calls share one read.

        Raises:
            Refused: `ROOM_NOT_FOUND`.
            HistoryUnavailableError: rooms-api is down.
        """
        # In a loop: the record may change during the read, and the read may return the old one.
        while not self._is_fresh(room):
            reading = self._reading.get(room)
            if reading is None:
                reading = asyncio.create_task(self._read(room), name=f"record {room.room_id}")
                self._reading[room] = reading
            await asyncio.shield(reading)
        return room.record

    async def tidy(self) -> None:
        """Close idle rooms, and reread old records, because an event about a ban may have been lost."""
        in_use = [room for room in self.rooms.values() if room.audience]
        for room in in_use:
            room.used_at_s = self.clock()
        for room in list(self.rooms.values()):
            if not room.audience and self.clock() - room.used_at_s >= self.linger_s:
                await self._close(room)
        old = [room for room in in_use if room not in self._reading and not self._is_fresh(room)]
        for at in range(0, len(old), RECORDS_PER_REQUEST):
            await self._reread(old[at : at + RECORDS_PER_REQUEST])

    async def run(self) -> None:
        """Call `tidy` once per period, until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_S)
            await self.tidy()

    async def _open(self, room_id: RoomId) -> HostedRoom:
        self.router.hold(room_id)
        channel = keys.room_channel(room_id)
        creations = self.unknown.creations
        try:
            # Subscribe first, so that nothing is missed between the read of the log and the subscription.
            await self.feed.subscribe(channel)
            now_s = self.clock()
            record, page = await asyncio.gather(
                self.history.record(room_id), self.history.newest(room_id, limits.RECENT_ON_JOIN)
            )
        except BaseException as error:
            if isinstance(error, Refused) and error.code is errors.ROOM_NOT_FOUND:
                self.unknown.add(room_id, creations, self.clock())
            self.router.discard(room_id)
            await self.feed.unsubscribe(channel)
            raise
        room = HostedRoom(room_id, record, page, self.new_group(), now_s)
        self.rooms[room_id] = room
        metrics.HOSTED_ROOMS.set(len(self.rooms))
        self.router.release(room)
        return room

    async def _close(self, room: HostedRoom) -> None:
        del self.rooms[room.room_id]
        metrics.HOSTED_ROOMS.set(len(self.rooms))
        await self.feed.unsubscribe(keys.room_channel(room.room_id))

    def _is_fresh(self, room: HostedRoom) -> bool:
        read_at_s = room.record_read_at_s
        return room not in self._reading and read_at_s is not None and self.clock() - read_at_s < RECORD_MAX_AGE_S

    async def _read(self, room: HostedRoom) -> None:
        # Set before the request: a change during the read marks the record as outdated again.
        room.record_read_at_s = self.clock()
        try:
            room.record = await self.history.record(room.room_id)
        except BaseException:
            room.record_read_at_s = None
            raise
        finally:
            del self._reading[room]
        await self.evict.enforce(room, room.record)

    async def _reread(self, rooms: Sequence[HostedRoom]) -> None:
        """Reread the records of many rooms in one request."""
        reading = asyncio.create_task(self._read_many(rooms), name=f"{len(rooms)} records")
        self._reading.update(dict.fromkeys(rooms, reading))
        try:
            # Shielded, because callers of `record` may wait for this read too.
            await asyncio.shield(reading)
        except HistoryUnavailableError as error:
            _log.warning("records_not_read", rooms=len(rooms), error=str(error))

    async def _read_many(self, rooms: Sequence[HostedRoom]) -> None:
        for room in rooms:
            room.record_read_at_s = self.clock()
        try:
            records = await self.history.records([room.room_id for room in rooms])
        except BaseException:
            for room in rooms:
                room.record_read_at_s = None
            raise
        finally:
            for room in rooms:
                del self._reading[room]
        for room in rooms:
            record = records.get(room.room_id)
            if record is None:
                room.record_read_at_s = None
                await self.evict.close(room)
            else:
                room.record = record
                await self.evict.enforce(room, record)
