"""Free the seats of dead nodes and of users who did not return, and announce the departures."""

import asyncio

import structlog

from gifchat_contracts.identity import Identity
from gifchat_realtime_gateway.ports import Seats, SeatsUnavailableError
from gifchat_realtime_gateway.use_cases.announce_presence import AnnouncePresence

PERIOD_S = 0.75
"""Members of a dead node are removed within a lease and one second, including the time of the sweep."""

_log = structlog.get_logger(__name__)


class SweepSeats:
    """Sweeps all rooms, on every node. Only the node that finds a departure announces it."""

    def __init__(self, seats: Seats, announce: AnnouncePresence) -> None:
        self._seats = seats
        self._announce = announce

    async def sweep(self) -> None:
        """Sweep once. If Redis is down, the next sweep retries."""
        try:
            departures = await self._seats.sweep()
        except SeatsUnavailableError as error:
            _log.warning("sweep_failed", error=str(error))
            return
        for departure in departures:
            who = Identity(departure.user_id, departure.color)
            await self._announce.left(departure.room_id, who, departure.occupancy)

    async def run(self) -> None:
        """Sweep once per period, until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_S)
            await self.sweep()
