"""Message routes for gateways: read the log for repair and recovery, relay a message, read the heads of many rooms."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query, params
from fastapi.responses import JSONResponse, Response

from gifchat_contracts import errors, limits
from gifchat_contracts.errors import Refused
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_contracts.position import MAX_SEQ
from gifchat_rooms_api.http.deps import Guards
from gifchat_rooms_api.http.direct_route import direct_router
from gifchat_rooms_api.http.message_schemas import RelayGif, RelayText, RoomIdText, RoomsQuery, log_page
from gifchat_rooms_api.http.messages import post, range_of
from gifchat_rooms_api.ports import Rooms
from gifchat_rooms_api.use_cases.check_access import seated_rule
from gifchat_rooms_api.use_cases.post_message import PostMessage
from gifchat_rooms_api.use_cases.read_history import NEWEST, ReadHistory
from gifchat_rooms_api.use_cases.read_rooms import existing_room


def internal_messages_router(
    post_messages: PostMessage,
    history: ReadHistory,
    rooms: Rooms,
    *,
    guards: Guards,
    checks: Sequence[params.Depends],
) -> APIRouter:
    """Return the message routes under `/internal/v1`."""
    router = direct_router("/internal/v1", [Depends(guards.internal_only), *checks], include_in_schema=False)
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
        """Return entries after or before a seq, or the newest ones, each with the fields of a frame's header."""
        wanted = range_of(before, after)
        if newest is not None and wanted != NEWEST:
            raise Refused(errors.VALIDATION_FAILED)
        room = await existing_room(rooms, RoomId(room_id))
        return JSONResponse(log_page(await history.page(room, wanted, newest or limit)))

    @router.post("/rooms/{room_id}/messages", status_code=201)
    async def relay_message(room_id: RoomIdText, body: RelayText | RelayGif) -> Response:
        """Post a message that a member sent over a socket. The reply is the same as for a POST by the member."""
        sender = Identity(UserId(body.user_id), body.color)
        if body.address is not None:
            await post_messages.charge(RoomId(room_id), body.address)
        return await post(post_messages, RoomId(room_id), sender, body, seated_rule(sender.user_id))

    @router.post("/heads")
    async def heads(query: RoomsQuery) -> JSONResponse:
        """Return the positions of these rooms; rooms that do not exist are left out."""
        positions = await history.heads([RoomId(room_id) for room_id in query.rooms])
        return JSONResponse({"heads": {room_id: position.as_json() for room_id, position in positions.items()}})

    return router
