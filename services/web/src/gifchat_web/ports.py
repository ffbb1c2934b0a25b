"""What web needs of rooms-api."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol

from gifchat_contracts.errors import ErrorCode
from gifchat_contracts.events import RoomPayload
from gifchat_contracts.ids import GifId, RoomId
from gifchat_contracts.languages import Language

Sort = Literal["newest", "members"]


class RoomsApiError(Exception):
    """rooms-api refused, or could not be asked (then `code` is `UNAVAILABLE`)."""

    def __init__(self, code: ErrorCode, retry_after: str | None = None) -> None:
        """`retry_after`: the answer's `Retry-After`, as it came."""
        super().__init__(code.code)
        self.code = code
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf rooms-api is asked."""

    session_cookie: str
    address: str
    language: Language


@dataclass(frozen=True, slots=True)
class RoomsPage:
    """A part of the list of rooms."""

    items: list[RoomPayload]
    next_cursor: str | None


class RoomsApi(Protocol):
    """The public API of rooms-api, asked for a user. Every method raises `RoomsApiError` and nothing else."""

    async def list_rooms(self, caller: Caller, *, query: str, sort: Sort, cursor: str | None) -> RoomsPage:
        """One page of the rooms whose title has `query` in it."""
        ...

    async def get_room(self, caller: Caller, room_id: RoomId) -> RoomPayload:
        """The room; `ROOM_NOT_FOUND`."""
        ...

    async def create_room(self, caller: Caller, title: str, max_members: int, password: str | None) -> RoomPayload:
        """A new room that the caller owns; `VALIDATION_FAILED`."""
        ...

    async def remove_room(self, caller: Caller, room_id: RoomId) -> None:
        """Remove the caller's room; `ROOM_NOT_FOUND`, `NOT_OWNER`."""
        ...

    async def admit(self, caller: Caller, room_id: RoomId, password: str | None) -> RoomPayload:
        """Ask whether the caller may enter now, in the order: no such room, password, full.

        After a right password rooms-api lets this session in without one for twelve hours.
        """
        ...

    async def post_text(self, caller: Caller, room_id: RoomId, text: str) -> None:
        """Post a text, once; returns when it is stored."""
        ...

    async def upload_gif(
        self, caller: Caller, room_id: RoomId, content_type: str, content_length: str | None, body: AsyncIterator[bytes]
    ) -> GifId:
        """Pass a multipart body on as it arrives; it has the file in the field `gif`."""
        ...

    async def post_gif(self, caller: Caller, room_id: RoomId, gif_id: GifId) -> None:
        """Post a GIF that was uploaded, once; returns when it is stored."""
        ...
