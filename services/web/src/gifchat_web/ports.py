"""What web needs from rooms-api."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol

from gifchat_contracts.events import RoomPayload
from gifchat_contracts.ids import GifId, RoomId
from gifchat_contracts.languages import Language

Sort = Literal["newest", "members"]


@dataclass(frozen=True, slots=True)
class Caller:
    """The user on whose behalf web asks rooms-api."""

    session_cookie: str
    address: str
    language: Language


@dataclass(frozen=True, slots=True, eq=False)
class RoomsPage:
    """One page of the list of rooms. Two pages are equal only if they come from the same read."""

    items: list[RoomPayload]
    next_cursor: str | None


class RoomsApi(Protocol):
    """The public API of rooms-api, called on behalf of a user.

    The methods raise only `Refused`: with rooms-api's code, or `UNAVAILABLE` if it gives no usable answer.
    """

    async def sign_out(self, caller: Caller) -> None:
        """Revoke the caller's session everywhere. Raises `SESSION_REVOKED` if it is revoked already."""

    async def list_rooms(self, caller: Caller, *, query: str, sort: Sort, cursor: str | None) -> RoomsPage:
        """Return one page of the rooms whose titles contain `query`."""

    async def get_room(self, caller: Caller, room_id: RoomId) -> RoomPayload:
        """Return the room, or raise `ROOM_NOT_FOUND`."""

    async def create_room(self, caller: Caller, title: str, max_members: int, password: str | None) -> RoomPayload:
        """Create a room that the caller owns. Raises the refusal, for example `TITLE_TOO_LONG`."""

    async def remove_room(self, caller: Caller, room_id: RoomId) -> None:
        """Remove the caller's room, or raise `ROOM_NOT_FOUND` or `NOT_OWNER`."""

    async def admit(self, caller: Caller, room_id: RoomId, password: str | None) -> RoomPayload:
        """Ask whether the caller may enter now. The checks run in this order: the room exists, password, free seat.

        Once the password was right, rooms-api admits this session without one for twelve hours.
        """

    async def post_text(self, caller: Caller, room_id: RoomId, text: str) -> None:
        """Post a text and return when it is stored. Retries after a failed attempt never store it twice."""

    async def upload_gif(
        self, caller: Caller, room_id: RoomId, content_type: str, content_length: str | None, body: AsyncIterator[bytes]
    ) -> GifId:
        """Stream a multipart body to rooms-api as it arrives. The file is in the field `gif`."""

    async def post_gif(self, caller: Caller, room_id: RoomId, gif_id: GifId) -> None:
        """Post an uploaded GIF and return when it is stored. Retries after a failed attempt never store it twice."""
