"""List a room's members for its owner, who decides whom to kick."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.ports import Member, MessageLog, Occupancy, OccupancyUnavailableError, Rooms
from gifchat_rooms_api.use_cases.check_access import owned_room

_EVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ListedMember:
    """A member, and when they last posted in the room; None: never."""

    member: Member
    last_posted_at: datetime | None


@dataclass(frozen=True, slots=True)
class ListMembers:
    """Lists members with the time of their last message."""

    rooms: Rooms
    occupancy: Occupancy
    log: MessageLog

    async def page(
        self, room_id: RoomId, owner_id: UserId, cursor: int, limit: int
    ) -> tuple[Sequence[ListedMember], int]:
        """Return about `limit` members, and the cursor of the next page; 0 on the last page.

        Raises:
            Refused: `ROOM_NOT_FOUND`, `NOT_OWNER`. `UNAVAILABLE` while the seats cannot be read.
            StoreUnavailableError: the room or its log cannot be read.
        """
        room = await owned_room(self.rooms, room_id, owner_id)
        try:
            page = await self.occupancy.page(room.room_id, cursor, limit)
        except OccupancyUnavailableError as error:
            raise Refused(errors.UNAVAILABLE) from error
        posted = await self.log.last_posted(room.room_id, [member.user_id for member in page.members], _EVER)
        return [ListedMember(member, posted.get(member.user_id)) for member in page.members], page.next_cursor
