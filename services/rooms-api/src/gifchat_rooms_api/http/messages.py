"""A room's messages: post one, read back, delete one."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import JSONResponse, Response

from gifchat_contracts import errors, limits
from gifchat_contracts.errors import Refused
from gifchat_contracts.events import ChatPayload
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import GifId, RoomId
from gifchat_contracts.position import MAX_SEQ
from gifchat_rooms_api.http.message_schemas import Chat, HistoryPage, PostGif, PostText, RoomIdText, history_page
from gifchat_rooms_api.ports import Rooms
from gifchat_rooms_api.use_cases.group_commit import Rule
from gifchat_rooms_api.use_cases.post_message import Messages
from gifchat_rooms_api.use_cases.read_history import After, Before, History, Newest, Range

Responses = dict[int | str, dict[str, Any]]

_REACH = (errors.SESSION_REQUIRED, errors.ROOM_NOT_FOUND, errors.VALIDATION_FAILED, errors.UNAVAILABLE)
_MEMBERSHIP = (errors.NOT_A_MEMBER, errors.BANNED, errors.KICKED, errors.ADMISSION_UNAVAILABLE)
_READ_PROBLEMS = (*_REACH, *_MEMBERSHIP)
_POST_PROBLEMS = (
    *_READ_PROBLEMS,
    errors.MUTED,
    errors.SLOW_MODE,
    errors.RATE_LIMITED,
    errors.GIF_NOT_FOUND,
    errors.OUTCOME_UNKNOWN,
    errors.ORIGIN_REFUSED,
    errors.MALFORMED,
    errors.PAYLOAD_TOO_LARGE,
)
_DELETE_PROBLEMS = (
    *_REACH,
    errors.NOT_OWNER,
    errors.MESSAGE_NOT_FOUND,
    errors.OUTCOME_UNKNOWN,
    errors.ORIGIN_REFUSED,
)


def messages_router(
    messages: Messages,
    history: History,
    rooms: Rooms,
    *,
    clock: Callable[[], datetime],
    caller: Callable[..., Any],
    reader_rule: Callable[..., Any],
    writer_rule: Callable[..., Any],
    problems: Callable[..., Responses],
) -> APIRouter:
    """The routes under `/rooms/{room_id}/messages`.

    `caller` is a dependency that gives the `Identity` behind the session cookie; `reader_rule` and `writer_rule` are
    dependencies that give the `Rule` for who may read the room or write into it; `problems` documents these codes.
    """
    router = APIRouter(prefix="/rooms/{room_id}/messages", tags=["messages"])

    @router.post("", status_code=201, response_model=Chat, responses=problems(*_POST_PROBLEMS))
    async def post_message(
        room_id: RoomIdText,
        body: PostText | PostGif,
        sender: Annotated[Identity, Depends(caller)],
        rule: Annotated[Rule, Depends(writer_rule)],
    ) -> JSONResponse:
        """Post a text or a GIF. 201 means that it is stored for good; the same `client_message_id` again is safe."""
        return JSONResponse(await post(messages, RoomId(room_id), sender, body, rule), status_code=201)

    @router.get("", response_model=HistoryPage, responses=problems(*_READ_PROBLEMS))
    async def read_messages(
        room_id: RoomIdText,
        rule: Annotated[Rule, Depends(reader_rule)],
        before: Annotated[int | None, Query(ge=1, le=MAX_SEQ, description="Entries below this seq.")] = None,
        after: Annotated[int | None, Query(ge=0, le=MAX_SEQ, description="Entries above this seq.")] = None,
        limit: Annotated[int, Query(ge=1, le=limits.HISTORY_PAGE_MAX)] = limits.HISTORY_PAGE_DEFAULT,
    ) -> JSONResponse:
        """Read the log: the newest page, or what is before or after a seq; always in rising order."""
        wanted = range_of(before, after)
        room = await rooms.get(RoomId(room_id))
        if room is None:
            raise Refused(errors.ROOM_NOT_FOUND)
        rule(room, clock())
        return JSONResponse(history_page(await history.page(room, wanted, limit)))

    @router.delete("/{seq}", status_code=204, response_class=Response, responses=problems(*_DELETE_PROBLEMS))
    async def delete_message(
        room_id: RoomIdText,
        seq: Annotated[int, Path(ge=1, le=MAX_SEQ)],
        owner: Annotated[Identity, Depends(caller)],
    ) -> None:
        """Delete a message, as the room's owner; a second time is no error."""
        await messages.delete(RoomId(room_id), owner.user_id, seq)

    return router


async def post(
    messages: Messages, room_id: RoomId, sender: Identity, body: PostText | PostGif, rule: Rule
) -> ChatPayload:
    """Post what `body` says."""
    match body:
        case PostText(client_message_id=key, text=text):
            return await messages.post_text(room_id, sender, key, text, rule)
        case PostGif(client_message_id=key, gif=gif):
            return await messages.post_gif(room_id, sender, key, GifId(gif), rule)


def range_of(before: int | None, after: int | None) -> Range:
    """The part of the log that the query names.

    Raises:
        Refused: `VALIDATION_FAILED`: both ends are given.
    """
    match before, after:
        case None, None:
            return Newest()
        case int(seq), None:
            return Before(seq)
        case None, int(seq):
            return After(seq)
        case _:
            raise Refused(errors.VALIDATION_FAILED)
