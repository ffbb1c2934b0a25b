"""Delete a user's messages in a room, as the room's owner."""

import asyncio
from dataclasses import dataclass

from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.ports import MessageLog
from gifchat_rooms_api.use_cases.delete_message import DeleteMessage

PURGED_MAX = 1_000
"""The newest messages that one call deletes; each adds an entry to the log. Repeat the call to delete older ones."""
_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class PurgeUser:
    """Deletes messages one by one, as the room's owner can, so that every reader learns of each."""

    log: MessageLog
    delete_message: DeleteMessage

    async def purge(self, room_id: RoomId, owner_id: UserId, user_id: UserId) -> None:
        """Delete the newest `PURGED_MAX` messages of the user.

        Raises:
            Refused, StoreUnavailableError, OutcomeUnknownError: see `DeleteMessage.delete`. Some messages may be
                deleted; the call may be repeated.
        """
        seqs = await self.log.messages_of(room_id, user_id, PURGED_MAX)
        for start in range(0, len(seqs), _AT_ONCE):
            some = seqs[start : start + _AT_ONCE]
            await asyncio.gather(*(self.delete_message.delete(room_id, owner_id, seq) for seq in some))
