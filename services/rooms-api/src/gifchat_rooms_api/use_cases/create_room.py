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
from gifchat_rooms_api.ports import Passwords, Publisher, Rate, RateLimits, RoomStore

ROOMS_PER_USER = Rate("room-user", burst=60, refill_s=1.0)
ROOMS_PER_ADDRESS = Rate("room-address", burst=600, refill_s=0.05)


@dataclass(frozen=True, slots=True)
class CreateRoom:
    """Creates rooms."""

    store: RoomStore
    publisher: Publisher
    passwords: Passwords
    rate_limits: RateLimits
    clock: Callable[[], datetime]
    new_room_id: Callable[[], RoomId]

    async def create(
        self, owner: Identity, address: str, title: str, max_members: int, password: str | None
    ) -> RoomPayload:
        """Create a room. The caller has checked `title` and `password`; an empty password is the same as none.

        Raises:
            Refused: `RATE_LIMITED`.
            PasswordsBusyError, StoreUnavailableError: nothing was stored.
            OutcomeUnknownError: the room may exist, but the lobby was not told.
        """
        for rate, subject in ((ROOMS_PER_USER, owner.user_id), (ROOMS_PER_ADDRESS, address)):
            wait_s = await self.rate_limits.take(rate, subject)
            if wait_s > 0:
                raise Refused(errors.RATE_LIMITED, wait_s)
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
        )
        await self.store.add(room)
        payload = room_payload(room)
        self.publisher.publish(keys.LOBBY_CHANNEL, Frame(Kind.NEW_ROOM, events.body(socket_events.NEW_ROOM, payload)))
        return payload
