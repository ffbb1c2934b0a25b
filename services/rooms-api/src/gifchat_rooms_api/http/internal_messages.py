"""For gateways: the log to repair and recover from, a member's message, the heads of many rooms."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse

from gifchat_contracts import errors, limits
from gifchat_contracts.errors import Refused
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_contracts.position import MAX_SEQ
from gifchat_rooms_api.http.message_schemas import RelayGif, RelayText, RoomIdText, RoomsQuery, log_page
from gifchat_rooms_api.http.messages import post, range_of
from gifchat_rooms_api.ports import Rooms
from gifchat_rooms_api.use_cases.group_commit import Rule
from gifchat_rooms_api.use_cases.post_message import Messages
from gifchat_rooms_api.use_cases.read_history import History, Newest


def internal_messages_router(
    messages: Messages,
    history: History,
    rooms: Rooms,
    *,
    from_a_service: Callable[..., Any],
    member_rule: Callable[[UserId], Rule],
) -> APIRouter:
    """The routes under `/internal/v1` that are about messages.

    `from_a_service` is a dependency that refuses whoever has not the internal token; `member_rule` gives the rule for
    a user whose seat the gateway has checked: not banned, not muted.
    """
    router = APIRouter(include_in_schema=False, dependencies=[Depends(from_a_service)])
    Limit = Annotated[int, Query(ge=1, le=limits.HISTORY_PAGE_MAX)]  # noqa: N806 - a type
    Seq = Annotated[int | None, Query(ge=0, le=MAX_SEQ)]  # noqa: N806 - a type

    @router.get("/rooms/{room_id}/log")
    async def read_log(
        room_id: RoomIdText,
        after: Seq = None,
        before: Seq = None,
        newest: Annotated[int | None, Query(ge=1, le=limits.HISTORY_PAGE_MAX)] = None,
        limit: Limit = limits.HISTORY_PAGE_MAX,
    ) -> JSONResponse:
        """Entries after or before a seq, or the newest ones; with what a frame needs beside each payload."""
        wanted = range_of(before, after)
        if newest is not None and wanted != Newest():
            raise Refused(errors.VALIDATION_FAILED)
        room = await rooms.get(RoomId(room_id))
        if room is None:
            raise Refused(errors.ROOM_NOT_FOUND)
        return JSONResponse(log_page(await history.page(room, wanted, newest or limit)))

    @router.post("/rooms/{room_id}/messages", status_code=201)
    async def relay_message(room_id: RoomIdText, body: RelayText | RelayGif) -> JSONResponse:
        """A message that a member sent over a socket; the reply is the one that a POST gets."""
        sender = Identity(UserId(body.user_id), body.color)
        payload = await post(messages, RoomId(room_id), sender, body, member_rule(sender.user_id))
        return JSONResponse(payload, status_code=201)

    @router.post("/heads")
    async def heads(query: RoomsQuery) -> JSONResponse:
        """The positions of these rooms; those that do not exist are left out."""
        positions = await history.heads([RoomId(room_id) for room_id in query.rooms])
        return JSONResponse({"heads": {room_id: position.as_json() for room_id, position in positions.items()}})

    return router
