"""A room."""

from dataclasses import dataclass

from room_contracts.ids import Epoch, RoomId, UserId


@dataclass(frozen=True, slots=True)
class Room:
    """A room as it is stored."""

    room_id: RoomId
    epoch: Epoch
    owner_id: UserId
    slow_mode_s: int = 0
