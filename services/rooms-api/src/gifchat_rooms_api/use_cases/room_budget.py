"""Bound what one user or address can do to the list of rooms: changes per minute, and rooms that exist at once."""

from dataclasses import dataclass

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import UserId
from gifchat_rooms_api.ports import Rate, RateLimits, RoomStore


@dataclass(frozen=True, slots=True)
class RoomBudget:
    """Creations and edits share one budget, because each one costs the whole lobby an event."""

    rate_limits: RateLimits
    store: RoomStore
    changes_per_user: Rate
    changes_per_address: Rate
    rooms_per_user: int
    rooms_per_address: int

    async def charge(self, user_id: UserId, address: str) -> None:
        """Charge one creation or edit.

        Raises:
            Refused: `RATE_LIMITED`.
        """
        for rate, subject in ((self.changes_per_user, user_id), (self.changes_per_address, address)):
            wait_s = await self.rate_limits.take(rate, subject)
            if wait_s > 0:
                raise Refused(errors.RATE_LIMITED, wait_s)

    async def has_room(self, owner_id: UserId, owner_address: str, *, new: int) -> bool:
        """Return whether `new` more rooms stay within the bounds.

        Raises:
            StoreUnavailableError: the rooms cannot be counted.
        """
        of_user, of_address = await self.store.count_owned(owner_id, owner_address)
        return of_user + new <= self.rooms_per_user and of_address + new <= self.rooms_per_address


def per_minute(name: str, changes: int) -> Rate:
    """Return a rate of `changes` a minute, all of which may come at once."""
    return Rate(name, burst=changes, refill_s=60 / changes)
