"""Create a room and announce it in the lobby."""

from collections.abc import Callable
from datetime import datetime

from gifchat_contracts import errors, events, keys, socket_events
from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.errors import Refused
from gifchat_contracts.events import RoomPayload
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, new_epoch
from gifchat_rooms_api.domain.room import Room, room_payload
from gifchat_rooms_api.ports import Passwords, PasswordsBusyError, Publisher, Rate, RateLimits, RoomStore

ROOMS_PER_USER = Rate("room-user", burst=60, refill_s=1.0)
ROOMS_PER_ADDRESS = Rate("room-address", burst=600, refill_s=0.05)


class CreateRoom:
    """Creates rooms."""

    def __init__(
        self,
        *,
        store: RoomStore,
        publisher: Publisher,
        passwords: Passwords,
        rate_limits: RateLimits,
        clock: Callable[[], datetime],
        new_room_id: Callable[[], RoomId],
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._passwords = passwords
        self._rate_limits = rate_limits
        self._clock = clock
        self._new_room_id = new_room_id

    async def create(
        self, owner: Identity, address: str, title: str, max_members: int, password: str | None
    ) -> RoomPayload:
        """Create a room. The caller has checked `title` and `password`.

        Raises:
            Refused: `RATE_LIMITED`, or `UNAVAILABLE` if too many passwords are being hashed.
            StoreUnavailableError: nothing was stored.
            OutcomeUnknownError: the room may exist, but the lobby was not told.
        """
        for rate, subject in ((ROOMS_PER_USER, owner.user_id), (ROOMS_PER_ADDRESS, address)):
            wait_s = await self._rate_limits.take(rate, subject)
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
            password_hash=await hash_password(self._passwords, password),
        )
        await self._store.add(room)
        payload = room_payload(room)
        self._publisher.publish(keys.LOBBY_CHANNEL, Frame(Kind.NEW_ROOM, events.body(socket_events.NEW_ROOM, payload)))
        return payload


async def hash_password(passwords: Passwords, password: str | None) -> str | None:
    """Hash a room's password; an empty one is the same as none.

    Raises:
        Refused: `UNAVAILABLE` if too many passwords are being hashed.
    """
    if not password:
        return None
    try:
        return await passwords.hash(password)
    except PasswordsBusyError as error:
        raise Refused(errors.UNAVAILABLE, retry_after_s=2) from error
