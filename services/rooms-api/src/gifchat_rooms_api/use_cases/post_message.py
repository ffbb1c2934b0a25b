"""Post a text or a GIF into a room."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from gifchat_contracts import errors, events
from gifchat_contracts.errors import Refused
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import GifId, RoomId
from gifchat_rooms_api.domain.message import Content, Draft, Gif, Message, Text
from gifchat_rooms_api.domain.text import message_text
from gifchat_rooms_api.ports import GifAddresses, Gifs, Rate, RateLimits
from gifchat_rooms_api.use_cases.group_commit import GroupCommit, Rule


def per_user(messages_per_s: float, at_once: int) -> Rate:
    """Return the rate at which one user may post into all rooms."""
    return Rate("message-user", burst=at_once, refill_s=1 / messages_per_s)


def per_room_and_address(messages_per_s: float, at_once: int) -> Rate:
    """Return the rate at which all users of one address may post into one room."""
    return Rate("message-room-address", burst=at_once, refill_s=1 / messages_per_s)


@dataclass(frozen=True, slots=True)
class PostMessage:
    """Posts messages through the group commit, which makes them durable, numbers them and publishes them."""

    commit: GroupCommit
    gifs: Gifs
    gif_addresses: GifAddresses
    rate_limits: RateLimits
    """May be local to this process, because nginx routes a room's messages to one replica."""
    clock: Callable[[], datetime]
    new_entry_id: Callable[[], str]
    per_user: Rate
    per_room_and_address: Rate

    async def charge(self, room_id: RoomId, address: str) -> None:
        """Charge a message to the sender's address in this room, however many users share the address.

        Raises:
            Refused: `RATE_LIMITED`, for the whole address.
        """
        wait_s = await self.rate_limits.take(self.per_room_and_address, f"{room_id} {address}")
        if wait_s > 0:
            raise Refused(errors.RATE_LIMITED, wait_s, whole_address=True)

    async def post_text(
        self, room_id: RoomId, sender: Identity, client_message_id: str, text: str, may_post: Rule
    ) -> bytes:
        """Post a text, and return the JSON of its `ChatPayload`.

        A retry with the same `client_message_id` returns the message that was stored first.

        Raises:
            Refused: `RATE_LIMITED`; see also `message_text` and `GroupCommit.append`.
        """
        return await self._post(room_id, sender, client_message_id, Text(message_text(text)), may_post)

    async def post_gif(
        self, room_id: RoomId, sender: Identity, client_message_id: str, gif_id: GifId, may_post: Rule
    ) -> bytes:
        """Post an uploaded GIF; otherwise like `post_text`.

        Raises:
            Refused: `GIF_NOT_FOUND` if the GIF does not exist, or if no message shows it and the sender did not upload
                it; see also `post_text`.
            StoreUnavailableError: the GIF cannot be looked up.
        """
        # Marks the GIF as used, so that no sweep removes it before the message refers to it.
        now = self.clock()
        gif = await self.gifs.use(gif_id, now)
        if gif is None or not await self.gif_addresses.may_post(sender.user_id, gif_id, now):
            raise Refused(errors.GIF_NOT_FOUND)
        content = Gif(gif.gif_id, gif.file, gif.width, gif.height, gif.frames)
        return await self._post(room_id, sender, client_message_id, content, may_post)

    async def _post(
        self, room_id: RoomId, sender: Identity, client_message_id: str, content: Content, may_post: Rule
    ) -> bytes:
        wait_s = await self.rate_limits.take(self.per_user, sender.user_id)
        if wait_s > 0:
            raise Refused(errors.RATE_LIMITED, wait_s)
        message = Message(sender.color, content)
        draft = Draft(self.new_entry_id(), sender.user_id, client_message_id, message)
        committed = await self.commit.append(room_id, draft, may_post)
        if not isinstance(committed.entry.draft.fact, Message):
            raise TypeError(f"the entry with client message id {client_message_id!r} is not a message")
        return events.payload_in(committed.body)
