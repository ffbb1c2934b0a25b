"""A room's messages: post one, read them, delete one."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, params
from fastapi.responses import Response

from gifchat_contracts import errors, limits
from gifchat_contracts.errors import Refused
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import GifId, RoomId
from gifchat_contracts.position import MAX_SEQ
from gifchat_rooms_api.http.deps import Guards, Reader, address_of
from gifchat_rooms_api.http.direct_route import direct_router, json_bytes
from gifchat_rooms_api.http.message_schemas import Chat, HistoryPage, PostGif, PostText, RoomIdText, history_page
from gifchat_rooms_api.http.problems import BODY_PROBLEMS, MEMBER_PROBLEMS, OWNER_PROBLEMS, problems
from gifchat_rooms_api.ports import Rooms
from gifchat_rooms_api.use_cases.delete_message import DeleteMessage
from gifchat_rooms_api.use_cases.group_commit import Rule
from gifchat_rooms_api.use_cases.limit_reads import LimitReads
from gifchat_rooms_api.use_cases.post_message import PostMessage
from gifchat_rooms_api.use_cases.read_history import After, Before, Range, ReadHistory
from gifchat_rooms_api.use_cases.read_rooms import existing_room
from gifchat_rooms_api.use_cases.shared_reads import SharedReads

_POST_PROBLEMS = (
    *MEMBER_PROBLEMS,
    *BODY_PROBLEMS,
    errors.MUTED,
    errors.SLOW_MODE,
    errors.RATE_LIMITED,
    errors.GIF_NOT_FOUND,
    errors.TEXT_EMPTY,
    errors.TEXT_TOO_LONG,
    errors.TEXT_TOO_MANY_LINES,
    errors.OUTCOME_UNKNOWN,
)
_DELETE_PROBLEMS = (*OWNER_PROBLEMS, errors.MESSAGE_NOT_FOUND)


def messages_router(
    post_messages: PostMessage,
    delete_messages: DeleteMessage,
    history: ReadHistory,
    limit_reads: LimitReads,
    rooms: Rooms,
    *,
    guards: Guards,
    checks: Sequence[params.Depends],
    clock: Callable[[], datetime],
) -> APIRouter:
    """Return the routes under `/api/v1/rooms/{room_id}/messages`."""
    router = direct_router("/api/v1/rooms/{room_id}/messages", checks, tags=["messages"])
    shared = SharedReads[bytes]()

    @router.post("", status_code=201, response_model=Chat, responses=problems(*_POST_PROBLEMS))
    async def post_message(
        room_id: RoomIdText,
        body: PostText | PostGif,
        sender: Annotated[Identity, Depends(guards.caller)],
        rule: Annotated[Rule, Depends(guards.writer_rule)],
        request: Request,
    ) -> Response:
        """Post a text or a GIF. 201 means durably stored. Retrying with the same `client_message_id` is safe."""
        await post_messages.charge(RoomId(room_id), address_of(request))
        return await post(post_messages, RoomId(room_id), sender, body, rule)

    @router.get("", response_model=HistoryPage, responses=problems(*MEMBER_PROBLEMS, errors.RATE_LIMITED))
    async def read_messages(
        room_id: RoomIdText,
        reader: Annotated[Reader, Depends(guards.reader)],
        before: Annotated[int | None, Query(ge=1, le=MAX_SEQ, description="Entries below this seq.")] = None,
        after: Annotated[int | None, Query(ge=0, le=MAX_SEQ, description="Entries above this seq.")] = None,
        limit: Annotated[int, Query(ge=1, le=limits.HISTORY_PAGE_MAX)] = limits.HISTORY_PAGE_DEFAULT,
    ) -> Response:
        """Read the log: the newest page, or the entries before or after a seq. Entries are in ascending order.

        A page has at most `limit` entries, and fewer if they are long.
        """
        wanted = range_of(before, after)
        room = await existing_room(rooms, RoomId(room_id))
        reader.rule(room, clock())

        async def read() -> bytes:
            return json_bytes(history_page(await history.page(room, wanted, limit)))

        body = await shared.read((room.room_id, room.epoch, wanted, limit), read)
        limit_reads.charge(reader.user_id, reader.address, len(body))
        return Response(body, media_type="application/json")

    @router.delete("/{seq}", status_code=204, response_class=Response, responses=problems(*_DELETE_PROBLEMS))
    async def delete_message(
        room_id: RoomIdText,
        seq: Annotated[int, Path(ge=1, le=MAX_SEQ)],
        owner: Annotated[Identity, Depends(guards.caller)],
    ) -> Response:
        """Delete a message, as the room's owner. Deleting it again is not an error."""
        await delete_messages.delete(RoomId(room_id), owner.user_id, seq)
        return Response(status_code=204)

    return router


async def post(
    post_messages: PostMessage, room_id: RoomId, sender: Identity, body: PostText | PostGif, rule: Rule
) -> Response:
    """Post the message in `body`, and answer with the stored message."""
    match body:
        case PostText(client_message_id=key, text=text):
            stored = await post_messages.post_text(room_id, sender, key, text, rule)
        case PostGif(client_message_id=key, gif=gif):
            stored = await post_messages.post_gif(room_id, sender, key, GifId(gif), rule)
    return Response(stored, 201, media_type="application/json")


def range_of(before: int | None, after: int | None) -> Range:
    """Return the part of the log that the query asks for.

    Raises:
        Refused: `VALIDATION_FAILED` if both `before` and `after` are given.
    """
    match before, after:
        case _, None:
            return Before(before)
        case None, int(seq):
            return After(seq)
        case _:
            raise Refused(errors.VALIDATION_FAILED)
