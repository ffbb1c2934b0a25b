"""Copy the number of members of each room from Redis into MongoDB, for sorting and for expiring empty rooms."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from gifchat_contracts import keys
from gifchat_rooms_api.ports import Occupancy, RoomStore


@dataclass(frozen=True, slots=True)
class RecordOccupancy:
    """Records the rooms whose number of members has changed."""

    store: RoomStore
    occupancy: Occupancy
    clock: Callable[[], datetime]

    async def record(self) -> None:
        """Record all changes since the last time.

        Raises:
            StoreUnavailableError, OutcomeUnknownError, OccupancyUnavailableError: some changes are not recorded.
        """
        recorded = await self.store.occupied()
        snapshot = await self.occupancy.snapshot()
        changes = {
            room_id: snapshot.members.get(room_id, 0)
            for room_id in {*snapshot.members, *recorded}
            if keys.partition_of(room_id) in snapshot.settled
            and snapshot.members.get(room_id, 0) != recorded.get(room_id, 0)
        }
        if changes:
            await self.store.record_occupancy(changes, self.clock())
