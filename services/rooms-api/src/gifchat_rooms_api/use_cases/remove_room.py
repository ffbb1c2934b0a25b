"""Remove a room with its log.

In one transaction, the store removes the room and records that its log must still be removed. The log is removed at
once. `finish_removals` removes it again when no message to the room can still be in flight. No message then refers to
the room's GIFs, so `RemoveUnreferencedGifs` removes them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from gifchat_contracts import errors, events, keys, socket_events
from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.errors import Refused
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId
from gifchat_rooms_api.ports import MessageLog, OutcomeUnknownError, Publisher, RoomStore, StoreUnavailableError
from gifchat_rooms_api.use_cases.check_access import owned_room
from gifchat_rooms_api.use_cases.recent_rooms import outdate_copies

REMOVALS_PER_ROUND = 100
POST_MAX = timedelta(seconds=60)
"""Upper bound on the time from reading the room to storing a message in it."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RemoveRoom:
    """Removes rooms and their logs, and announces the removal."""

    store: RoomStore
    log: MessageLog
    publisher: Publisher
    clock: Callable[[], datetime]

    async def remove(self, room_id: RoomId, caller: Identity) -> None:
        """Remove the room, as its owner. When this returns, every replica refuses messages to it.

        Raises:
            Refused: `ROOM_NOT_FOUND`, `NOT_OWNER`.
            StoreUnavailableError: nothing was removed.
            OutcomeUnknownError: the room may be removed, but nobody was told.
        """
        await owned_room(self.store, room_id, caller.user_id)
        if not await self.store.remove(room_id):
            raise Refused(errors.ROOM_NOT_FOUND)
        await self._clean_up(room_id)
        await outdate_copies()

    async def remove_if_empty(self, room_id: RoomId, empty_since: datetime) -> bool:
        """Remove the room if it is recorded as empty since `empty_since` or earlier; False if it stays.

        The caller has just checked that the room is empty.

        Raises:
            StoreUnavailableError: nothing was removed.
            OutcomeUnknownError: the room may be removed, but nobody was told.
        """
        if not await self.store.remove(room_id, empty_since=empty_since):
            return False
        await self._clean_up(room_id)
        return True

    async def finish_removals(self) -> None:
        """Remove the logs of removed rooms again, now that no message can be in flight.

        This also finishes the removals of a replica that died halfway.

        Raises:
            StoreUnavailableError, OutcomeUnknownError: some removals are not finished.
        """
        for room_id in await self.store.removed_before(self.clock() - POST_MAX, REMOVALS_PER_ROUND):
            await self.log.remove_room(room_id)
            await self.store.finish_removal(room_id)

    async def _clean_up(self, room_id: RoomId) -> None:
        frame = Frame(Kind.ROOM_REMOVED, events.body(socket_events.REMOVE_ROOM, room_id))
        self.publisher.publish(keys.room_channel(room_id), frame)
        self.publisher.publish(keys.LOBBY_CHANNEL, frame)
        try:
            await self.log.remove_room(room_id)
        except (StoreUnavailableError, OutcomeUnknownError) as error:
            _log.warning("log_not_removed", room=room_id, error=str(error))
