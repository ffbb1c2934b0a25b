"""Collect the events that a joining client missed, from the room's ring or by reads that concurrent joins share."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any

from gifchat_contracts import limits
from gifchat_contracts.codec import Frame
from gifchat_contracts.position import Position
from gifchat_realtime_gateway.domain.hosted_room import HostedRoom
from gifchat_realtime_gateway.domain.recovery import Newest, Recovered, Wanting, newest, recover
from gifchat_realtime_gateway.ports import RoomHistory
from gifchat_realtime_gateway.use_cases.repair_rooms import RepairRooms


class CatchUp:
    """Brings one client up to its room's position."""

    def __init__(self, history: RoomHistory, repair: RepairRooms) -> None:
        self._history = history
        self._repair = repair
        self._reading: dict[Hashable, asyncio.Task[list[Frame]]] = {}

    async def collect(self, room: HostedRoom, seen: Position | None) -> Recovered | Newest:
        """Return what the client missed since `seen` (None: a new client), up to the room's position when this returns.

        The caller must add the client to the audience before it awaits anything else. Later events then follow without
        a gap.

        Raises:
            HistoryUnavailableError: rooms-api is down.
        """
        found = recover(room.ring, room.stream.position, seen)
        if seen is None or not isinstance(found, Wanting):
            return found if isinstance(found, Recovered) else newest(room.ring)
        if found is Wanting.NEWER:
            await self._repair.reach(room, seen.seq)
        else:
            await self._shared(("ring", room.room_id), lambda: self._fill_ring(room))
        found = recover(room.ring, room.stream.position, seen)
        if found is Wanting.OLDER:
            older = await self._shared(("log", room.room_id, seen.seq), lambda: self._read_after(room, seen.seq))
            rest = room.ring.since(older[-1].seq) if older else None
            if rest is not None:
                return Recovered([*room.ring.redacted(older), *rest])
        return found if isinstance(found, Recovered) else newest(room.ring)

    async def _fill_ring(self, room: HostedRoom) -> list[Frame]:
        """Fill the ring with older frames. After a node dies, this one read serves most of its clients."""
        ring = room.ring
        count = max(1, min(ring.space, limits.HISTORY_PAGE_MAX))
        page = await self._history.before(room.room_id, ring.start + 1, count)
        if page.epoch == room.stream.position.epoch and ring is room.ring:
            ring.extend_back(page.frames)
        return []

    async def _read_after(self, room: HostedRoom, seq: int) -> list[Frame]:
        """Read at most `HISTORY_PAGE_MAX` frames, from `seq` up to the ring; return none if the epoch has changed."""
        frames: list[Frame] = []
        while True:
            at = frames[-1].seq if frames else seq
            page = await self._history.after(room.room_id, at, limits.HISTORY_PAGE_MAX - len(frames))
            if page.epoch != room.stream.position.epoch:
                return []
            frames += page.frames
            if not page.frames or frames[-1].seq >= room.ring.start or len(frames) >= limits.HISTORY_PAGE_MAX:
                break
        return [frame for frame in frames if frame.seq <= room.ring.last]

    async def _shared(self, key: Hashable, read: Callable[[], Coroutine[Any, Any, list[Frame]]]) -> list[Frame]:
        """Await the running read with this key, or start one."""
        reading = self._reading.get(key)
        if reading is None:
            reading = asyncio.create_task(read(), name=f"read back {key}")
            self._reading[key] = reading
            reading.add_done_callback(lambda _task: self._reading.pop(key, None))
        # Shielded: one client may disconnect while the others still wait.
        return await asyncio.shield(reading)
