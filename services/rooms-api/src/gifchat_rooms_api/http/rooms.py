"""Rooms, and the tickets to join them."""

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Query, Request, params
from fastapi.responses import JSONResponse, Response

from gifchat_contracts import errors, events, limits
from gifchat_contracts.errors import Refused
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId
from gifchat_contracts.position import MAX_SEQ
from gifchat_rooms_api.domain.room import RoomPatch, room_payload
from gifchat_rooms_api.domain.text import title_text
from gifchat_rooms_api.http.deps import Guards, address_of
from gifchat_rooms_api.http.direct_route import direct_router, json_bytes
from gifchat_rooms_api.http.message_schemas import RoomIdText
from gifchat_rooms_api.http.problems import BODY_PROBLEMS, OWNER_PROBLEMS, TITLE_PROBLEMS, problems
from gifchat_rooms_api.http.room_schemas import EditedRoom, NewRoom, Room, RoomList, Ticket, TicketRequest
from gifchat_rooms_api.ports import RoomCursor, Rooms, Sort
from gifchat_rooms_api.use_cases.create_room import CreateRoom
from gifchat_rooms_api.use_cases.edit_room import EditRoom
from gifchat_rooms_api.use_cases.issue_ticket import IssueTicket
from gifchat_rooms_api.use_cases.read_rooms import ReadRooms, existing_room
from gifchat_rooms_api.use_cases.remove_room import RemoveRoom
from gifchat_rooms_api.use_cases.shared_reads import SharedReads

_CURSOR = re.compile(r"(newest|members):(\d{1,16}):([0-9a-f]{24})\Z")


def rooms_router(
    rooms: ReadRooms,
    create: CreateRoom,
    edit: EditRoom,
    remove: RemoveRoom,
    issue: IssueTicket,
    *,
    recent: Rooms,
    guards: Guards,
    checks: Sequence[params.Depends],
) -> APIRouter:
    """Return the routes under `/api/v1/rooms` for rooms and their tickets."""
    router = direct_router("/api/v1/rooms", checks, tags=["rooms"])
    shared = SharedReads[bytes]()
    Caller = Annotated[Identity, Depends(guards.caller)]  # noqa: N806 - a type

    @router.post(
        "",
        status_code=201,
        response_model=Room,
        responses=problems(
            *BODY_PROBLEMS,
            *TITLE_PROBLEMS,
            errors.SESSION_REQUIRED,
            errors.RATE_LIMITED,
            errors.TOO_MANY_ROOMS,
            errors.OUTCOME_UNKNOWN,
        ),
    )
    async def create_room(body: NewRoom, owner: Caller, request: Request) -> JSONResponse:
        """Create a room. The caller becomes its owner."""
        room = await create.create(owner, address_of(request), body.title, body.max, body.password)
        return JSONResponse(room, 201, {"Location": f"/api/v1/rooms/{room['_id']}"})

    @router.get("", response_model=RoomList, responses=problems(errors.TITLE_TOO_LONG))
    async def list_rooms(
        q: Annotated[
            str,
            Query(
                max_length=limits.TITLE_MAX_BYTES * limits.RAW_CHARS_PER_BYTE,
                description="A part of the title, in upper or lower case. The rules for titles hold.",
            ),
        ] = "",
        sort: Annotated[Sort, Query(description="Newest first, or fullest first.")] = "newest",
        limit: Annotated[int, Query(ge=1, le=limits.ROOMS_PAGE_MAX)] = limits.ROOMS_PAGE_DEFAULT,
        cursor: Annotated[
            str | None,
            Query(max_length=128, description="The `next_cursor` of the previous page, with the same `sort`."),
        ] = None,
    ) -> Response:
        """List rooms, page by page. A new room that nobody enters is left out after a minute, until somebody enters."""
        title_part, after = _title_part(q), _decode_cursor(cursor, sort)

        async def read() -> bytes:
            page = await rooms.page(sort, title_part, after, limit)
            next_cursor = None if page.next_cursor is None else _encode_cursor(page.next_cursor, sort)
            return json_bytes({"items": page.items, "next_cursor": next_cursor})

        body = await shared.read((sort, title_part, after, limit), read)
        return Response(body, media_type="application/json")

    @router.get("/{room_id}", response_model=Room, responses=problems(errors.ROOM_NOT_FOUND))
    async def get_room(room_id: RoomIdText) -> JSONResponse:
        """Get one room."""
        return JSONResponse(await rooms.payload(await existing_room(recent, RoomId(room_id))))

    @router.patch(
        "/{room_id}",
        response_model=Room,
        responses=problems(*OWNER_PROBLEMS, *BODY_PROBLEMS, *TITLE_PROBLEMS, errors.RATE_LIMITED),
    )
    async def change_room(room_id: RoomIdText, body: EditedRoom, owner: Caller, request: Request) -> JSONResponse:
        """Edit a room, as its owner."""
        patch = RoomPatch(body.title, body.max, slow_mode_s=body.slow_mode_s)
        new_password = (body.password or "") if "password" in body.model_fields_set else None
        return JSONResponse(await edit.edit(RoomId(room_id), owner, address_of(request), patch, new_password))

    @router.delete("/{room_id}", status_code=204, response_class=Response, responses=problems(*OWNER_PROBLEMS))
    async def delete_room(room_id: RoomIdText, owner: Caller) -> Response:
        """Remove a room and everything in it, as its owner."""
        await remove.remove(RoomId(room_id), owner)
        return Response(status_code=204)

    @router.post(
        "/{room_id}/tickets",
        status_code=201,
        response_model=Ticket,
        responses=problems(
            *BODY_PROBLEMS,
            errors.SESSION_REQUIRED,
            errors.ROOM_NOT_FOUND,
            errors.BANNED,
            errors.KICKED,
            errors.PASSWORD_REQUIRED,
            errors.WRONG_PASSWORD,
            errors.TOO_MANY_ATTEMPTS,
            errors.ROOM_FULL,
        ),
    )
    async def issue_ticket(
        room_id: RoomIdText,
        user: Caller,
        request: Request,
        body: Annotated[TicketRequest | None, Body()] = None,
    ) -> JSONResponse:
        """Get a ticket to join a room. A private room requires its password."""
        password = None if body is None else body.password
        issued = await issue.issue(RoomId(room_id), user, address_of(request), password)
        answer = {
            "ticket": issued.ticket,
            "expires_at": events.timestamp(issued.expires_at),
            "room": room_payload(issued.room, issued.members),
        }
        return JSONResponse(answer, 201)

    return router


def _title_part(q: str) -> str:
    """Return the part of a title to search for. A search term follows the rules for titles, but may be empty."""
    try:
        return title_text(q)
    except Refused as refused:
        if refused.code is errors.TEXT_EMPTY:
            return ""
        raise


def _encode_cursor(cursor: RoomCursor, sort: Sort) -> str:
    return base64.urlsafe_b64encode(f"{sort}:{cursor.key}:{cursor.room_id}".encode()).decode().rstrip("=")


def _decode_cursor(cursor: str | None, sort: Sort) -> RoomCursor | None:
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise Refused(errors.VALIDATION_FAILED, detail="cursor: not a cursor of this API") from error
    match = _CURSOR.match(text)
    if match is None or match[1] != sort or int(match[2]) > _MAX_KEY[sort]:
        raise Refused(errors.VALIDATION_FAILED, detail="cursor: not a cursor of this sort order")
    return RoomCursor(int(match[2]), RoomId(match[3]))


_MAX_KEY: dict[Sort, int] = {"newest": 253_402_300_799_999, "members": MAX_SEQ}
"""For `newest`, the last millisecond of the year 9999, where Python's dates end."""
