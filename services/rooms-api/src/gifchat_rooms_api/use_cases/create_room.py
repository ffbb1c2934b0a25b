"""Create a room and announce it in the lobby."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from gifchat_contracts import errors, events, keys, socket_events
from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.errors import Refused
from gifchat_contracts.events import RoomPayload
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, new_epoch
from gifchat_rooms_api.domain.room import Room, room_payload
from gifchat_rooms_api.ports import Passwords, Publisher, RoomStore
from gifchat_rooms_api.use_cases.room_budget import RoomBudget


@dataclass(frozen=True, slots=True)
class CreateRoom:
    """Creates rooms."""

    store: RoomStore
    publisher: Publisher
    passwords: Passwords
    budget: RoomBudget
    digest_address: Callable[[str], str]
    """Returns a keyed digest, because the address itself must not be stored."""
    clock: Callable[[], datetime]
    new_room_id: Callable[[], RoomId]

    async def create(
        self, owner: Identity, address: str, title: str, max_members: int, password: str | None
    ) -> RoomPayload:
        """Create a room. The caller has checked `title` and `password`; an empty password is the same as none.

        Raises:
            Refused: `RATE_LIMITED`, `TOO_MANY_ROOMS`.
            PasswordsBusyError, StoreUnavailableError: nothing was stored.
            OutcomeUnknownError: the room may exist, but the lobby was not told.
        """
        await self.budget.charge(owner.user_id, address)
        owner_address = self.digest_address(address)
        if not await self.budget.has_room(owner.user_id, owner_address, new=1):
            raise Refused(errors.TOO_MANY_ROOMS)
        now = self.clock()
        room = Room(
            room_id=self.new_room_id(),
            epoch=new_epoch(),
            owner_id=owner.user_id,
            owner_color=owner.color,
            title=title,
            max_members=max_members,
            created_at=now.replace(microsecond=now.microsecond // 1000 * 1000),
            password_hash=await self.passwords.hash(password) if password else None,
            owner_address=owner_address,
        )
        await self.store.add(room)
        # Count again: other rooms may have been created since the first count.
        if not await self.budget.has_room(owner.user_id, owner_address, new=0):
            await self.store.remove(room.room_id)
            raise Refused(errors.TOO_MANY_ROOMS)
        payload = room_payload(room)
        self.publisher.publish(keys.LOBBY_CHANNEL, Frame(Kind.NEW_ROOM, events.body(socket_events.NEW_ROOM, payload)))
        return payload
