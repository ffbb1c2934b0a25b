"""Delete a message, as the room's owner."""

from collections.abc import Callable

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.domain.message import Deletion, Draft, deletion_key
from gifchat_rooms_api.ports import MessageLog, OutcomeUnknownError, Rooms, StoreUnavailableError
from gifchat_rooms_api.use_cases.check_access import owner_rule, require_owner
from gifchat_rooms_api.use_cases.group_commit import GroupCommit


class DeleteMessage:
    """Redacts a message, then appends the deletion to the room's log so that every reader learns of it."""

    def __init__(self, rooms: Rooms, log: MessageLog, commit: GroupCommit, new_entry_id: Callable[[], str]) -> None:
        self._rooms = rooms
        self._log = log
        self._commit = commit
        self._new_entry_id = new_entry_id

    async def delete(self, room_id: RoomId, user_id: UserId, seq: int) -> None:
        """Delete the message at `seq`; idempotent.

        Redacts first: if this process dies in between, nobody can read the content any more, and the next attempt
        appends the missing entry.

        Raises:
            Refused: `ROOM_NOT_FOUND`, `NOT_OWNER`, `MESSAGE_NOT_FOUND`, `UNAVAILABLE`, `OUTCOME_UNKNOWN`.
        """
        room = await self._rooms.get(room_id)
        if room is None:
            raise Refused(errors.ROOM_NOT_FOUND)
        require_owner(room, user_id)
        try:
            redacted = await self._log.redact(room_id, seq)
        except StoreUnavailableError as error:
            raise Refused(errors.UNAVAILABLE) from error
        except OutcomeUnknownError as error:
            raise Refused(errors.OUTCOME_UNKNOWN) from error
        if redacted is None:
            raise Refused(errors.MESSAGE_NOT_FOUND)
        deletion = Deletion(seq, redacted.draft.entry_id)
        draft = Draft(self._new_entry_id(), user_id, deletion_key(seq), deletion)
        await self._commit.append(room_id, draft, owner_rule(user_id))
