"""Kick, ban and mute users: store the sanction with the room, then tell the gateways, which act at once.

A gateway that misses the event finds the sanction when it next reads the room.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from gifchat_contracts import errors, events, keys, socket_events
from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.errors import Refused
from gifchat_contracts.events import SanctionPayload
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.domain.moderation import (
    Ban,
    Kick,
    ModerationAction,
    Mute,
    Until,
    apply_action,
)
from gifchat_rooms_api.ports import Publisher, RoomStore
from gifchat_rooms_api.use_cases.check_access import owned_room
from gifchat_rooms_api.use_cases.recent_rooms import outdate_copies

_MAX_ATTEMPTS = 10
"""An attempt fails only if another action in the same room came first."""

_Code = Literal["kicked", "banned", "muted", "unbanned", "unmuted"]


@dataclass(frozen=True, slots=True)
class ModerateUser:
    """Applies an owner's moderation actions."""

    store: RoomStore
    publisher: Publisher
    clock: Callable[[], datetime]
    max_sanctioned_users: int
    """See `apply_action`. Sanctions are part of the room and are read with it, so their number needs a bound."""

    async def apply(
        self, room_id: RoomId, owner: Identity, user_id: UserId, action: ModerationAction
    ) -> SanctionPayload:
        """Apply `action`, which may also lift a sanction. When this returns, every replica obeys it.

        Repeating a kick kicks again; the rest is idempotent.

        Raises:
            Refused: `ROOM_NOT_FOUND`, `NOT_OWNER`. `VALIDATION_FAILED` if the user is the owner. `UNAVAILABLE` if too
                many actions in this room collide.
            StoreUnavailableError: nothing happened.
            OutcomeUnknownError: the sanction may be stored, but nobody was told.
        """
        now = self.clock()
        for _ in range(_MAX_ATTEMPTS):
            room = await owned_room(self.store, room_id, owner.user_id)
            if user_id == owner.user_id:
                raise Refused(errors.VALIDATION_FAILED, detail="Owners cannot moderate themselves.")
            sanctions = apply_action(room.sanctions, user_id, action, now, max_users=self.max_sanctioned_users)
            if await self.store.replace_sanctions(room, sanctions):
                payload = self._publish(room_id, user_id, action, now)
                await outdate_copies()
                return payload
        raise Refused(errors.UNAVAILABLE)

    def _publish(self, room_id: RoomId, user_id: UserId, action: ModerationAction, now: datetime) -> SanctionPayload:
        code, until = _described(action, now)
        payload: SanctionPayload = {"room": room_id, "code": code, "until": until}
        frame = Frame(Kind.SANCTION, events.body(socket_events.SANCTION, payload), subject=user_id)
        self.publisher.publish(keys.room_channel(room_id), frame)
        return payload


def _described(action: ModerationAction, now: datetime) -> tuple[_Code, str | None]:
    match action:
        case Kick(until):
            return "kicked", _timestamp(until)
        case Ban(None):
            return "unbanned", events.timestamp(now)
        case Mute(None):
            return "unmuted", events.timestamp(now)
        case Ban(until):
            return "banned", _timestamp(until)
        case Mute(until):
            return "muted", _timestamp(until)


def _timestamp(until: Until | None) -> str | None:
    return events.timestamp(until) if isinstance(until, datetime) else None
