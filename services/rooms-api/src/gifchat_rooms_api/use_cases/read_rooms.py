"""Read rooms: one, many, or page by page, each with its current number of members."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.events import RoomPayload
from gifchat_contracts.ids import RoomId
from gifchat_rooms_api.domain.room import Room, fold_title, room_payload
from gifchat_rooms_api.ports import Occupancy, OccupancyUnavailableError, RoomCursor, RoomStore, Sort


@dataclass(frozen=True, slots=True)
class RoomsPage:
    """A page of rooms."""

    items: list[RoomPayload]
    next_cursor: RoomCursor | None
    """None on the last page."""


class ReadRooms:
    """Reads rooms. Every method can raise `StoreUnavailableError`."""

    def __init__(self, store: RoomStore, occupancy: Occupancy) -> None:
        self._store = store
        self._occupancy = occupancy

    async def get(self, room_id: RoomId) -> Room:
        """Return the room as it is stored.

        Raises:
            Refused: `ROOM_NOT_FOUND`.
        """
        room = await self._store.get(room_id)
        if room is None:
            raise Refused(errors.ROOM_NOT_FOUND)
        return room

    async def find(self, room_ids: Collection[RoomId]) -> Sequence[Room]:
        """Return the rooms that exist, as they are stored."""
        return await self._store.find(room_ids)

    async def payload(self, room: Room) -> RoomPayload:
        """Return the room as everybody may see it. While Redis is down, the members are the last recorded ones."""
        return (await self.payloads([room]))[room.room_id]

    async def payloads(self, rooms: Sequence[Room]) -> dict[RoomId, RoomPayload]:
        """Return the payload of each room, as `payload` does."""
        members = await self._members(rooms)
        return {room.room_id: room_payload(room, members.get(room.room_id)) for room in rooms}

    async def page(self, sort: Sort, title_part: str, after: RoomCursor | None, limit: int) -> RoomsPage:
        """Return the next `limit` rooms whose title contains `title_part`, ignoring case."""
        found = await self._store.page(sort, fold_title(title_part), after, limit + 1)
        rooms = found[:limit]
        payloads = await self.payloads(rooms)
        next_cursor = _cursor_of(rooms[-1], sort) if len(found) > limit else None
        return RoomsPage(list(payloads.values()), next_cursor)

    async def _members(self, rooms: Iterable[Room]) -> Mapping[RoomId, int]:
        try:
            return await self._occupancy.members([room.room_id for room in rooms])
        except OccupancyUnavailableError:
            return {}


def _cursor_of(room: Room, sort: Sort) -> RoomCursor:
    key = round(room.created_at.timestamp() * 1000) if sort == "newest" else room.members
    return RoomCursor(key, room.room_id)
