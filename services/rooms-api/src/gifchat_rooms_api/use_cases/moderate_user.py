"""Kick, ban and mute: stored with the room, then told to the gateways, which act at once.

A gateway that misses the event finds the sanction in the room when it next reads it.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Literal

from gifchat_contracts import errors, events, keys, socket_events
from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.errors import Refused
from gifchat_contracts.events import SanctionPayload
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.domain.moderation import Ban, Kick, Measure, Mute, TooManySanctionsError, Until, take_measure
from gifchat_rooms_api.ports import Publisher, RoomStore

_ATTEMPTS = 10
"""Each failed one is another measure that was taken in the room."""

_Code = Literal["kicked", "banned", "muted", "unbanned", "unmuted"]


class Moderation:
    """What owners do against users of their rooms."""

    def __init__(self, store: RoomStore, publisher: Publisher, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._publisher = publisher
        self._clock = clock

    async def take(self, room_id: RoomId, owner: Identity, user_id: UserId, measure: Measure) -> SanctionPayload:
        """Take a measure, or end one; the same again is the same.

        Raises:
            Refused: `ROOM_NOT_FOUND`, `NOT_OWNER`, `VALIDATION_FAILED`: it is against the owner; `TOO_MANY_SANCTIONS`;
                `UNAVAILABLE`: too many measures at once.
            StoreUnavailableError: nothing happened.
            OutcomeUnknownError: it may hold; nobody was told.
        """
        now = self._clock()
        for _ in range(_ATTEMPTS):
            room = await self._store.get(room_id)
            if room is None:
                raise Refused(errors.ROOM_NOT_FOUND)
            if room.owner_id != owner.user_id:
                raise Refused(errors.NOT_OWNER)
            if user_id == owner.user_id:
                raise Refused(errors.VALIDATION_FAILED, detail="The owner cannot act against herself or himself.")
            try:
                sanctions = take_measure(room.sanctions, user_id, measure, now)
            except TooManySanctionsError as error:
                raise Refused(errors.TOO_MANY_SANCTIONS) from error
            if await self._store.replace_sanctions(room, sanctions):
                return self._tell(room_id, user_id, measure, now)
        raise Refused(errors.UNAVAILABLE)

    def _tell(self, room_id: RoomId, user_id: UserId, measure: Measure, now: datetime) -> SanctionPayload:
        code, until = _described(measure, now)
        payload: SanctionPayload = {"room": room_id, "code": code, "until": until}
        frame = Frame(Kind.SANCTION, events.body(socket_events.SANCTION, payload), subject=user_id)
        self._publisher.publish(keys.room_channel(room_id), frame)
        return payload


def _described(measure: Measure, now: datetime) -> tuple[_Code, str | None]:
    match measure:
        case Kick():
            return "kicked", events.timestamp(now)
        case Ban(None):
            return "unbanned", events.timestamp(now)
        case Mute(None):
            return "unmuted", events.timestamp(now)
        case Ban(until):
            return "banned", _end(until)
        case Mute(until):
            return "muted", _end(until)


def _end(until: Until | None) -> str | None:
    return events.timestamp(until) if isinstance(until, datetime) else None
