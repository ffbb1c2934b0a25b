"""Delete a message, as the room's owner."""

from collections.abc import Callable
from dataclasses import dataclass

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.domain.message import Deletion, Draft, deletion_key
from gifchat_rooms_api.ports import MessageLog, Rooms
from gifchat_rooms_api.use_cases.check_access import owned_room, owner_rule
from gifchat_rooms_api.use_cases.group_commit import GroupCommit


@dataclass(frozen=True, slots=True)
class DeleteMessage:
    """Redacts a message, then appends the deletion to the room's log so that every reader learns of it."""

    rooms: Rooms
    log: MessageLog
    commit: GroupCommit
    new_entry_id: Callable[[], str]

    async def delete(self, room_id: RoomId, user_id: UserId, seq: int) -> None:
        """Delete the message at `seq`; idempotent.

        Redacts first: if this process dies in between, nobody can read the content, and the next attempt
        appends the missing entry.

        Raises:
            Refused: `MESSAGE_NOT_FOUND`; see also `owned_room` and `GroupCommit.append`.
            StoreUnavailableError: nothing was deleted.
            OutcomeUnknownError: the content may still be visible.
        """
        await owned_room(self.rooms, room_id, user_id)
        redacted = await self.log.redact(room_id, seq)
        if redacted is None:
            raise Refused(errors.MESSAGE_NOT_FOUND)
        deletion = Deletion(seq, redacted.draft.entry_id)
        draft = Draft(self.new_entry_id(), user_id, deletion_key(seq), deletion)
        await self.commit.append(room_id, draft, owner_rule(user_id))
