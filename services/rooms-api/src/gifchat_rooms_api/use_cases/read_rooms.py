"""Read one room, many rooms, or a page of rooms, with their current numbers of members."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.events import RoomPayload
from gifchat_contracts.ids import RoomId
from gifchat_rooms_api.domain.room import Room, room_payload
from gifchat_rooms_api.domain.text import fold_title
from gifchat_rooms_api.ports import Occupancy, OccupancyUnavailableError, RoomCursor, Rooms, RoomStore, Sort


@dataclass(frozen=True, slots=True)
class RoomsPage:
    """A page of rooms."""

    items: list[RoomPayload]
    next_cursor: RoomCursor | None
    """None on the last page."""


@dataclass(frozen=True, slots=True)
class ReadRooms:
    """Reads rooms. Every method can raise `StoreUnavailableError`."""

    store: RoomStore
    occupancy: Occupancy
    clock: Callable[[], datetime]
    unentered_listed_s: float
    """How long `page` lists a room that nobody has entered."""

    async def get(self, room_id: RoomId) -> Room:
        """Return the room as it is stored; see `existing_room`."""
        return await existing_room(self.store, room_id)

    async def find(self, room_ids: Collection[RoomId]) -> Sequence[Room]:
        """Return the rooms that exist, as they are stored."""
        return await self.store.find(room_ids)

    async def payload(self, room: Room) -> RoomPayload:
        """Return the room as everybody may see it. While Redis is down, it has the last recorded number of members."""
        return (await self.payloads([room]))[room.room_id]

    async def payloads(self, rooms: Sequence[Room]) -> dict[RoomId, RoomPayload]:
        """Return the payload of each room, as `payload` does."""
        members: Mapping[RoomId, int] = {}
        with suppress(OccupancyUnavailableError):
            members = await self.occupancy.members([room.room_id for room in rooms])
        return {room.room_id: room_payload(room, members.get(room.room_id)) for room in rooms}

    async def page(self, sort: Sort, title_part: str, after: RoomCursor | None, limit: int) -> RoomsPage:
        """Return the next `limit` rooms whose title contains `title_part`, ignoring case.

        A room that nobody entered soon after its creation is left out until somebody does.
        """
        since = self.clock() - timedelta(seconds=self.unentered_listed_s)
        found = await self.store.page(sort, fold_title(title_part), after, limit + 1, unentered_since=since)
        rooms = found[:limit]
        payloads = await self.payloads(rooms)
        next_cursor = _cursor_of(rooms[-1], sort) if len(found) > limit else None
        return RoomsPage(list(payloads.values()), next_cursor)


async def existing_room(rooms: Rooms, room_id: RoomId) -> Room:
    """Return the room as it is stored.

    Raises:
        Refused: `ROOM_NOT_FOUND`.
        StoreUnavailableError: the room cannot be read.
    """
    room = await rooms.get(room_id)
    if room is None:
        raise Refused(errors.ROOM_NOT_FOUND)
    return room


def _cursor_of(room: Room, sort: Sort) -> RoomCursor:
    key = round(room.created_at.timestamp() * 1000) if sort == "newest" else room.members
    return RoomCursor(key, room.room_id)
