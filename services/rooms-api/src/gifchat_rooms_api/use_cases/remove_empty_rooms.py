"""Remove rooms that have been empty for too long."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from gifchat_rooms_api.ports import Occupancy, RoomStore
from gifchat_rooms_api.use_cases.remove_room import RemoveRoom

ROOMS_PER_ROUND = 100

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RemoveEmptyRooms:
    """Removes a room only after Redis confirms that it is empty."""

    store: RoomStore
    occupancy: Occupancy
    remove_room: RemoveRoom
    clock: Callable[[], datetime]
    ttl_s: float
    """How long a room may stay empty; 0 keeps empty rooms forever."""

    async def remove(self) -> None:
        """Remove up to `ROOMS_PER_ROUND` rooms, longest empty first.

        Raises:
            StoreUnavailableError, OutcomeUnknownError, OccupancyUnavailableError: some rooms were not checked.
        """
        if not self.ttl_s:
            return
        empty_since = self.clock() - timedelta(seconds=self.ttl_s)
        for room_id in await self.store.empty_since(empty_since, ROOMS_PER_ROUND):
            certainly_empty = await self.occupancy.certainly_empty(room_id)
            if certainly_empty and await self.remove_room.remove_if_empty(room_id, empty_since):
                _log.info("empty_room_removed", room=room_id)
