"""Edit a room's title, capacity, password or slow mode, as its owner."""

from dataclasses import dataclass, replace

from gifchat_contracts import errors, events, keys, socket_events
from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.errors import Refused
from gifchat_contracts.events import RoomPayload
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId
from gifchat_rooms_api.domain.room import NewPassword, RoomPatch
from gifchat_rooms_api.ports import Passwords, Publisher, RoomStore
from gifchat_rooms_api.use_cases.check_access import owned_room
from gifchat_rooms_api.use_cases.post_notice import PostNotice
from gifchat_rooms_api.use_cases.read_rooms import ReadRooms
from gifchat_rooms_api.use_cases.recent_rooms import outdate_copies
from gifchat_rooms_api.use_cases.room_budget import RoomBudget


@dataclass(frozen=True, slots=True)
class EditRoom:
    """Edits rooms and publishes the result."""

    store: RoomStore
    rooms: ReadRooms
    post_notice: PostNotice
    publisher: Publisher
    passwords: Passwords
    budget: RoomBudget

    async def edit(
        self, room_id: RoomId, caller: Identity, address: str, patch: RoomPatch, new_password: str | None
    ) -> RoomPayload:
        """Apply `patch` and announce it in the room and the lobby. A change of slow mode also posts a notice.

        When this returns, every replica obeys the change.

        If `new_password` is None, the password stays; if it is empty, the room becomes public.

        Raises:
            Refused: `ROOM_NOT_FOUND`, `NOT_OWNER`, `RATE_LIMITED`. The notice may also be refused, after the room was
                changed.
            PasswordsBusyError, StoreUnavailableError: nothing was changed.
            OutcomeUnknownError: the room may be changed, but nobody was told.
        """
        await self.budget.charge(caller.user_id, address)
        before = await owned_room(self.store, room_id, caller.user_id)
        if new_password is not None:
            password_hash = await self.passwords.hash(new_password) if new_password else None
            patch = replace(patch, password=NewPassword(password_hash))
        after = await self.store.change(room_id, caller.user_id, patch)
        if after is None:
            raise Refused(errors.ROOM_NOT_FOUND)
        payload = await self.rooms.payload(after)
        if not patch.empty:
            frame = Frame(Kind.ROOM_CHANGED, events.body(socket_events.ROOM_CHANGED, payload))
            self.publisher.publish(keys.room_channel(room_id), frame)
            self.publisher.publish(keys.LOBBY_CHANNEL, frame)
        if after.slow_mode_s != before.slow_mode_s:
            await self.post_notice.post_slow_mode(room_id, caller.user_id, after.slow_mode_s)
        await outdate_copies()
        return payload
