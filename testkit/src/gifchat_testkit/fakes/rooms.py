"""Rooms for tests."""

from datetime import UTC, datetime

from gifchat_contracts.ids import Epoch, RoomId, UserId
from gifchat_rooms_api.domain.room import Room

OWNER = UserId("0" * 24)


def room_of(room_id: RoomId, owner_id: UserId = OWNER, slow_mode_s: int = 0) -> Room:
    """Return a room with default settings."""
    return Room(
        room_id=room_id,
        epoch=Epoch("0123456789abcdef"),
        owner_id=owner_id,
        owner_color="#86362d",
        title="A room",
        max_members=10,
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        slow_mode_s=slow_mode_s,
    )
