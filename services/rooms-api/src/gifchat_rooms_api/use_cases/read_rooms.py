"""Rooms: making, finding, changing and removing them."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from gifchat_contracts import errors, events, keys, socket_events
from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.errors import Refused
from gifchat_contracts.events import RoomPayload
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, new_epoch
from gifchat_rooms_api.domain.room import NewPassword, Room, RoomChange, folded, room_payload
from gifchat_rooms_api.ports import (
    MessageLog,
    Occupancy,
    OccupancyUnavailableError,
    OutcomeUnknownError,
    Passwords,
    PasswordsBusyError,
    Place,
    Publisher,
    Rate,
    RateLimits,
    RoomStore,
    Sort,
    StoreUnavailableError,
)
from gifchat_rooms_api.use_cases.post_message import Messages

ROOMS_OF_USER = Rate("room-user", burst=60, every_s=1.0)
ROOMS_FROM_ADDRESS = Rate("room-address", burst=600, every_s=0.05)

_log = structlog.get_logger(__name__)


class _Keep:
    """Leaves the password as it is."""


KEEP = _Keep()


@dataclass(frozen=True, slots=True)
class Wish:
    """What an owner asks for; None leaves it as it is."""

    title: str | None = None
    max_members: int | None = None
    password: str | _Keep | None = KEEP
    """None takes it away."""
    slow_mode_s: int | None = None


@dataclass(frozen=True, slots=True)
class RoomsPage:
    """Some rooms, and where to go on; None: these were the last."""

    items: list[RoomPayload]
    next_place: Place | None


class RoomRegistry:
    """What people do with rooms.

    Every method can raise `StoreUnavailableError`, those that write `OutcomeUnknownError` too.
    """

    def __init__(
        self,
        *,
        store: RoomStore,
        log: MessageLog,
        messages: Messages,
        occupancy: Occupancy,
        publisher: Publisher,
        passwords: Passwords,
        rate_limits: RateLimits,
        clock: Callable[[], datetime],
        new_room_id: Callable[[], RoomId],
    ) -> None:
        self._store = store
        self._log = log
        self._messages = messages
        self._occupancy = occupancy
        self._publisher = publisher
        self._passwords = passwords
        self._rate_limits = rate_limits
        self._clock = clock
        self._new_room_id = new_room_id

    async def create(
        self, owner: Identity, address: str, title: str, max_members: int, password: str | None
    ) -> RoomPayload:
        """A new room, told to the lobby once a majority has it. `title` and `password` are checked by the caller.

        Raises:
            Refused: `RATE_LIMITED`; `UNAVAILABLE`: too many passwords are being hashed.
        """
        for rate, whom in ((ROOMS_OF_USER, owner.user_id), (ROOMS_FROM_ADDRESS, address)):
            wait_s = await self._rate_limits.take(rate, whom)
            if wait_s > 0:
                raise Refused(errors.RATE_LIMITED, wait_s)
        now = self._clock()
        room = Room(
            room_id=self._new_room_id(),
            epoch=new_epoch(),
            owner_id=owner.user_id,
            owner_color=owner.color,
            title=title,
            max_members=max_members,
            created_at=now.replace(microsecond=now.microsecond // 1000 * 1000),
            password_hash=await self._hash(password) if password else None,
        )
        await self._store.add(room)
        payload = room_payload(room)
        self._publisher.publish(keys.LOBBY_CHANNEL, Frame(Kind.NEW_ROOM, events.body(socket_events.NEW_ROOM, payload)))
        return payload

    async def get(self, room_id: RoomId) -> RoomPayload:
        """The room as everybody may see it.

        Raises:
            Refused: `ROOM_NOT_FOUND`.
        """
        return await self.payload(await self.record(room_id))

    async def record(self, room_id: RoomId) -> Room:
        """The room as it is stored.

        Raises:
            Refused: `ROOM_NOT_FOUND`.
        """
        room = await self._store.get(room_id)
        if room is None:
            raise Refused(errors.ROOM_NOT_FOUND)
        return room

    async def records(self, room_ids: Collection[RoomId]) -> Sequence[Room]:
        """Those of the rooms that there are, as they are stored."""
        return await self._store.find(room_ids)

    async def payloads(self, rooms: Sequence[Room]) -> dict[RoomId, RoomPayload]:
        """As `payload`, for many."""
        members = await self._members(rooms)
        return {room.room_id: room_payload(room, members.get(room.room_id)) for room in rooms}

    async def payload(self, room: Room) -> RoomPayload:
        """The room with its members of this moment, or those of a moment ago while Redis is away."""
        members = await self._members([room])
        return room_payload(room, members.get(room.room_id))

    async def page(self, sort: Sort, title_part: str, after: Place | None, limit: int) -> RoomsPage:
        """The next `limit` rooms whose title has `title_part` in it, in any case."""
        found = await self._store.page(sort, folded(title_part), after, limit + 1)
        rooms = found[:limit]
        members = await self._members(rooms)
        place = _place_of(rooms[-1], sort) if len(found) > limit else None
        return RoomsPage([room_payload(room, members.get(room.room_id)) for room in rooms], place)

    async def change(self, room_id: RoomId, caller: Identity, wish: Wish) -> RoomPayload:
        """Change the room and tell everybody; a changed slow mode is also told in the room's log.

        Raises:
            Refused: `ROOM_NOT_FOUND`, `NOT_OWNER`; `UNAVAILABLE`: too many passwords are being hashed.
        """
        before = await self._owned(room_id, caller)
        password = None
        if not isinstance(wish.password, _Keep):
            password = NewPassword(await self._hash(wish.password) if wish.password else None)
        change = RoomChange(wish.title, wish.max_members, password, wish.slow_mode_s)
        after = await self._store.change(room_id, caller.user_id, change)
        if after is None:
            raise Refused(errors.ROOM_NOT_FOUND)
        payload = await self.payload(after)
        if not change.empty:
            frame = Frame(Kind.ROOM_CHANGED, events.body(socket_events.ROOM_CHANGED, payload))
            self._publisher.publish(keys.room_channel(room_id), frame)
            self._publisher.publish(keys.LOBBY_CHANNEL, frame)
        if after.slow_mode_s != before.slow_mode_s:
            await self._messages.append_notice(room_id, caller.user_id, after.slow_mode_s)
        return payload

    async def delete(self, room_id: RoomId, caller: Identity) -> None:
        """Remove the room and everything in it.

        Raises:
            Refused: `ROOM_NOT_FOUND`, `NOT_OWNER`.
        """
        await self._owned(room_id, caller)
        if not await self._store.remove(room_id):
            raise Refused(errors.ROOM_NOT_FOUND)
        await self.clear_away(room_id)

    async def remove_empty(self, room_id: RoomId, empty_since: datetime) -> bool:
        """Remove the room if it has been empty since; whoever calls has looked whether it is at this moment."""
        if not await self._store.remove(room_id, empty_since=empty_since):
            return False
        await self.clear_away(room_id)
        return True

    async def clear_away(self, room_id: RoomId) -> None:
        """Say that the room is gone, and remove its log; what fails here the janitor does again.

        Its GIFs have lost who refers to them; they go with all others of that kind.
        """
        frame = Frame(Kind.ROOM_REMOVED, events.body(socket_events.REMOVE_ROOM, room_id))
        self._publisher.publish(keys.room_channel(room_id), frame)
        self._publisher.publish(keys.LOBBY_CHANNEL, frame)
        try:
            await self._log.remove_room(room_id)
        except (StoreUnavailableError, OutcomeUnknownError) as error:
            _log.warning("log_not_removed", room=room_id, error=str(error))

    async def _owned(self, room_id: RoomId, caller: Identity) -> Room:
        room = await self.record(room_id)
        if room.owner_id != caller.user_id:
            raise Refused(errors.NOT_OWNER)
        return room

    async def _hash(self, password: str) -> str:
        try:
            return await self._passwords.hash(password)
        except PasswordsBusyError as error:
            raise Refused(errors.UNAVAILABLE, retry_after_s=2) from error

    async def _members(self, rooms: Iterable[Room]) -> Mapping[RoomId, int]:
        try:
            return await self._occupancy.members([room.room_id for room in rooms])
        except OccupancyUnavailableError:
            return {}


def _place_of(room: Room, sort: Sort) -> Place:
    return Place(round(room.created_at.timestamp() * 1000) if sort == "newest" else room.members, room.room_id)
