"""What writes a room's log: messages, their deletion, and the owner's notices."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.events import ChatPayload
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import GifId, RoomId, UserId
from gifchat_rooms_api.domain.message import (
    Content,
    Deletion,
    Draft,
    Gif,
    Message,
    SlowModeChange,
    chat_payload,
    deletion_key,
    notice_key,
    text_of,
)
from gifchat_rooms_api.domain.room import Room
from gifchat_rooms_api.ports import MessageLog, OutcomeUnknownError, Rate, RateLimits, Rooms, StoreUnavailableError
from gifchat_rooms_api.use_cases.group_commit import GroupCommit, Rule

MESSAGES_OF_USER = Rate("message-user", burst=150, every_s=0.05)
"""Far above what a person types, far below what hurts: slow mode is for the room's peace, this for the service's."""


class Messages:
    """Writes through the group commit, so that every entry has its seq, its durability and its event."""

    def __init__(
        self,
        rooms: Rooms,
        commit: GroupCommit,
        log: MessageLog,
        *,
        find_gif: Callable[[GifId], Awaitable[Gif | None]],
        new_entry_id: Callable[[], str],
        rate_limits: RateLimits,
    ) -> None:
        """`rate_limits` may be this process's alone: a room's messages come to one replica."""
        self._rooms = rooms
        self._commit = commit
        self._log = log
        self._find_gif = find_gif
        self._new_entry_id = new_entry_id
        self._rate_limits = rate_limits

    async def post_text(
        self, room_id: RoomId, sender: Identity, client_message_id: str, text: str, may_write: Rule
    ) -> ChatPayload:
        """Post a text; the same `client_message_id` again returns the message that was stored first.

        Raises:
            BadTextError: see `text_of`.
            Refused: `RATE_LIMITED`; see `GroupCommit.append`.
        """
        return await self._post(room_id, sender, client_message_id, text_of(text), may_write)

    async def post_gif(
        self, room_id: RoomId, sender: Identity, client_message_id: str, gif_id: GifId, may_write: Rule
    ) -> ChatPayload:
        """Post a GIF that was uploaded before; otherwise as `post_text`.

        Raises:
            Refused: also `GIF_NOT_FOUND`.
        """
        gif = await self._find_gif(gif_id)
        if gif is None:
            raise Refused(errors.GIF_NOT_FOUND)
        return await self._post(room_id, sender, client_message_id, gif, may_write)

    async def delete(self, room_id: RoomId, user_id: UserId, seq: int) -> None:
        """Take the content out of the message at `seq` and say so in the log; the same again changes nothing.

        The content goes first: if this process ends in between, nobody can read it any more, and the next attempt
        makes up for the entry.

        Raises:
            Refused: `ROOM_NOT_FOUND`, `NOT_OWNER`, `MESSAGE_NOT_FOUND`, `UNAVAILABLE`, `OUTCOME_UNKNOWN`.
        """
        room = await self._rooms.get(room_id)
        if room is None:
            raise Refused(errors.ROOM_NOT_FOUND)
        _require_owner(room, user_id)
        try:
            redacted = await self._log.redact(room_id, seq)
        except StoreUnavailableError as error:
            raise Refused(errors.UNAVAILABLE) from error
        except OutcomeUnknownError as error:
            raise Refused(errors.OUTCOME_UNKNOWN) from error
        if redacted is None:
            raise Refused(errors.MESSAGE_NOT_FOUND)
        deletion = Deletion(seq, redacted.draft.entry_id)
        await self._commit.append(
            room_id, Draft(self._new_entry_id(), user_id, deletion_key(seq), deletion), owner_only(user_id)
        )

    async def append_notice(self, room_id: RoomId, owner_id: UserId, slow_mode_s: int) -> None:
        """Tell the room that its slow mode is `slow_mode_s` now.

        Raises:
            Refused: see `GroupCommit.append`; after `OUTCOME_UNKNOWN` a second attempt may tell it twice.
        """
        entry_id = self._new_entry_id()
        draft = Draft(entry_id, owner_id, notice_key(entry_id), SlowModeChange(slow_mode_s))
        await self._commit.append(room_id, draft, owner_only(owner_id))

    async def _post(
        self, room_id: RoomId, sender: Identity, client_message_id: str, content: Content, may_write: Rule
    ) -> ChatPayload:
        wait_s = await self._rate_limits.take(MESSAGES_OF_USER, sender.user_id)
        if wait_s > 0:
            raise Refused(errors.RATE_LIMITED, wait_s)
        message = Message(sender.color, content)
        draft = Draft(self._new_entry_id(), sender.user_id, client_message_id, message)
        committed = await self._commit.append(room_id, draft, may_write)
        stored = committed.entry.draft.fact
        if not isinstance(stored, Message):
            raise TypeError(f"the entry of client message id {client_message_id!r} is no message")
        return chat_payload(room_id, committed.epoch, committed.entry, stored)


def owner_only(user_id: UserId) -> Rule:
    """The rule for what only the owner may write."""

    def rule(room: Room, now: datetime) -> None:  # noqa: ARG001 - the shape of a rule
        _require_owner(room, user_id)

    return rule


def _require_owner(room: Room, user_id: UserId) -> None:
    if room.owner_id != user_id:
        raise Refused(errors.NOT_OWNER)
