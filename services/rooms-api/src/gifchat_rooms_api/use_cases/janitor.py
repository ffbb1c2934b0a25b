"""Run periodic jobs: finish removals, sweep GIFs, record occupancy, and remove empty rooms.

The replica that holds the lease runs them. Every job is idempotent, so two replicas may overlap briefly.
"""

import asyncio
from dataclasses import dataclass

import structlog

from gifchat_rooms_api.ports import (
    Leadership,
    OccupancyUnavailableError,
    OutcomeUnknownError,
    StoreClosedError,
    StoreUnavailableError,
)
from gifchat_rooms_api.use_cases.record_occupancy import RecordOccupancy
from gifchat_rooms_api.use_cases.remove_empty_rooms import RemoveEmptyRooms
from gifchat_rooms_api.use_cases.remove_room import RemoveRoom
from gifchat_rooms_api.use_cases.remove_unreferenced_gifs import RemoveUnreferencedGifs

PERIOD_S = 2.0
LEASE_S = 15.0
"""Longer than a round normally takes. If the leader does not renew it, another replica takes over."""
ROUNDS_PER_GIF_SWEEP = 15

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Janitor:
    """Runs rounds of jobs until it is cancelled."""

    leadership: Leadership
    remove_room: RemoveRoom
    remove_unreferenced_gifs: RemoveUnreferencedGifs
    record_occupancy: RecordOccupancy
    remove_empty_rooms: RemoveEmptyRooms

    async def run(self) -> None:
        """Run rounds until cancelled. The next round retries what failed.

        Raises:
            StoreClosedError: the store is closed, so no later round can succeed.
        """
        round_number = 0
        while True:
            try:
                if await self.leadership.acquire(LEASE_S):
                    await self.round(sweep_gifs=round_number % ROUNDS_PER_GIF_SWEEP == 0)
                    round_number += 1
            except StoreClosedError:
                raise
            except (StoreUnavailableError, OutcomeUnknownError, OccupancyUnavailableError) as error:
                _log.warning("janitor_round_failed", error=str(error))
            except Exception:  # the task's boundary: one crashed round must not end the task
                _log.exception("janitor_round_crashed")
            await asyncio.sleep(PERIOD_S)

    async def round(self, *, sweep_gifs: bool) -> None:
        """Run each job once.

        Raises:
            StoreUnavailableError, OutcomeUnknownError, OccupancyUnavailableError: some jobs were not done.
        """
        await self.remove_room.finish_removals()
        if sweep_gifs:
            await self.remove_unreferenced_gifs.remove()
        await self.record_occupancy.record()
        await self.remove_empty_rooms.remove()
