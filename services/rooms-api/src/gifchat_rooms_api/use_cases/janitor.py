"""What nobody asks for and somebody must do: occupancy into the rooms, empty rooms away, removals to their end.

One replica does it at a time, by a lease. All of it can be done twice or by two for a moment without harm.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime, timedelta

import structlog

from gifchat_contracts import keys
from gifchat_contracts.ids import RoomId
from gifchat_rooms_api.ports import (
    Leadership,
    MessageLog,
    Occupancy,
    OccupancySnapshot,
    OccupancyUnavailableError,
    OutcomeUnknownError,
    RoomStore,
    StoreClosedError,
    StoreUnavailableError,
)
from gifchat_rooms_api.use_cases.read_rooms import RoomRegistry

PERIOD_S = 2.0
LEASE_S = 15.0
"""Longer than one round should take; another replica takes over after it."""
GIF_ROUNDS = 15
"""GIFs are looked after in every so manieth round."""
ROOMS_AT_ONCE = 100
REMOVAL_SETTLES = timedelta(seconds=60)
"""A message that was let in before its room was removed is written by then."""

_log = structlog.get_logger(__name__)


class Janitor:
    """Works in rounds until it is cancelled."""

    def __init__(
        self,
        *,
        leadership: Leadership,
        store: RoomStore,
        rooms: RoomRegistry,
        log: MessageLog,
        occupancy: Occupancy,
        remove_gifs: Callable[[datetime], Awaitable[int]],
        clock: Callable[[], datetime],
        empty_room_ttl_s: float,
        unreferenced_gif_ttl_s: float,
    ) -> None:
        """`remove_gifs` removes those that no message shows and that were last used before a moment.

        `empty_room_ttl_s` 0: empty rooms stay.
        """
        self._leadership = leadership
        self._store = store
        self._rooms = rooms
        self._log = log
        self._occupancy = occupancy
        self._remove_gifs = remove_gifs
        self._clock = clock
        self._empty_room_ttl_s = empty_room_ttl_s
        self._unreferenced_gif_ttl_s = unreferenced_gif_ttl_s

    async def work(self) -> None:
        """Run rounds until cancelled; the next round retries what failed.

        Raises:
            StoreClosedError: the store is closed, so no later round can succeed.
        """
        round_number = 0
        while True:
            try:
                if await self._leadership.acquire(LEASE_S):
                    await self.round(with_gifs=round_number % GIF_ROUNDS == 0)
                    round_number += 1
            except StoreClosedError:
                raise
            except (StoreUnavailableError, OutcomeUnknownError, OccupancyUnavailableError) as error:
                _log.warning("janitor_round_failed", error=str(error))
            except Exception:  # the task's boundary: a round that crashes must not be the last one
                _log.exception("janitor_round_crashed")
            await asyncio.sleep(PERIOD_S)

    async def round(self, *, with_gifs: bool) -> None:
        """Do everything once.

        Raises:
            StoreUnavailableError, OutcomeUnknownError, OccupancyUnavailableError: some of it was not done.
        """
        await self._finish_removals()
        if with_gifs:
            removed = await self._remove_gifs(self._clock() - timedelta(seconds=self._unreferenced_gif_ttl_s))
            if removed:
                _log.info("unreferenced_gifs_removed", gifs=removed)
        await self._record_occupancy()
        if self._empty_room_ttl_s:
            await self._remove_empty_rooms()

    async def _record_occupancy(self) -> None:
        recorded = await self._store.occupied()
        snapshot = await self._occupancy.snapshot()
        changes = {
            room_id: members
            for room_id, members in _current(snapshot, recorded.keys()).items()
            if recorded.get(room_id, 0) != members
        }
        if changes:
            await self._store.record_occupancy(changes, self._clock())

    async def _remove_empty_rooms(self) -> None:
        empty_since = self._clock() - timedelta(seconds=self._empty_room_ttl_s)
        for room_id in await self._store.empty_since(empty_since, ROOMS_AT_ONCE):
            if await self._occupancy.certainly_empty(room_id) and await self._rooms.remove_empty(room_id, empty_since):
                _log.info("empty_room_removed", room=room_id)

    async def _finish_removals(self) -> None:
        """Again, after what was under way has arrived: also for a replica that died in between."""
        for room_id in await self._store.removed_before(self._clock() - REMOVAL_SETTLES, ROOMS_AT_ONCE):
            await self._log.remove_room(room_id)
            await self._store.finish_removal(room_id)


def _current(snapshot: OccupancySnapshot, recorded: Collection[RoomId]) -> dict[RoomId, int]:
    """The members of every room that has or had any, in the partitions of which they are known."""
    return {
        room_id: snapshot.members.get(room_id, 0)
        for room_id in {*snapshot.members, *recorded}
        if keys.partition_of(room_id) in snapshot.settled
    }
