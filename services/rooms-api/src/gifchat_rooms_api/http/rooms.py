"""Rooms and tickets."""

import base64
import binascii
import re
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request
from fastapi.responses import JSONResponse, Response

from gifchat_contracts import errors, events, limits
from gifchat_contracts.errors import Refused
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId
from gifchat_contracts.position import MAX_SEQ
from gifchat_rooms_api.domain.room import BadTitleError, room_payload, title_of
from gifchat_rooms_api.http.deps import address_of
from gifchat_rooms_api.http.message_schemas import RoomIdText
from gifchat_rooms_api.http.problems import problems
from gifchat_rooms_api.http.room_schemas import ChangedRoom, NewRoom, Room, RoomList, Ticket, TicketRequest
from gifchat_rooms_api.ports import Place, Sort
from gifchat_rooms_api.use_cases.issue_ticket import Admission
from gifchat_rooms_api.use_cases.read_rooms import KEEP, RoomRegistry, Wish

_CHANGING = (errors.SESSION_REQUIRED, errors.ORIGIN_REFUSED, errors.MALFORMED, errors.PAYLOAD_TOO_LARGE)
_CURSOR = re.compile(r"(newest|members):(\d{1,16}):([0-9a-f]{24})\Z")


def rooms_router(rooms: RoomRegistry, admission: Admission, *, caller: Callable[..., Any]) -> APIRouter:
    """The routes under `/rooms` that are about rooms; `caller` gives the `Identity` behind the session cookie."""
    router = APIRouter(prefix="/rooms", tags=["rooms"])
    Caller = Annotated[Identity, Depends(caller)]  # noqa: N806 - a type

    @router.post(
        "",
        status_code=201,
        response_model=Room,
        responses=problems(*_CHANGING, errors.RATE_LIMITED, errors.OUTCOME_UNKNOWN),
    )
    async def create_room(wanted: NewRoom, owner: Caller, request: Request) -> JSONResponse:
        """Make a room; who makes it owns it."""
        room = await rooms.create(owner, address_of(request), wanted.title, wanted.max, wanted.password)
        return JSONResponse(room, 201, {"Location": f"/api/v1/rooms/{room['_id']}"})

    @router.get("", response_model=RoomList, responses=problems())
    async def list_rooms(
        q: Annotated[
            str, Query(max_length=limits.TITLE_MAX_CHARS, description="A part of the title, in upper or lower case.")
        ] = "",
        sort: Annotated[Sort, Query(description="Newest first, or fullest first.")] = "newest",
        limit: Annotated[int, Query(ge=1, le=limits.ROOMS_PAGE_MAX)] = limits.ROOMS_PAGE_DEFAULT,
        cursor: Annotated[
            str | None, Query(max_length=128, description="The `next_cursor` of the page before, with the same `sort`.")
        ] = None,
    ) -> JSONResponse:
        """The rooms, page by page."""
        page = await rooms.page(sort, _searched(q), _place(cursor, sort), limit)
        next_cursor = None if page.next_place is None else _cursor(page.next_place, sort)
        return JSONResponse({"items": page.items, "next_cursor": next_cursor})

    @router.get("/{room_id}", response_model=Room, responses=problems(errors.ROOM_NOT_FOUND))
    async def get_room(room_id: RoomIdText) -> JSONResponse:
        """One room."""
        return JSONResponse(await rooms.get(RoomId(room_id)))

    @router.patch(
        "/{room_id}",
        response_model=Room,
        responses=problems(*_CHANGING, errors.ROOM_NOT_FOUND, errors.NOT_OWNER, errors.OUTCOME_UNKNOWN),
    )
    async def change_room(room_id: RoomIdText, wanted: ChangedRoom, owner: Caller) -> JSONResponse:
        """Change the room, as its owner."""
        password = wanted.password if "password" in wanted.model_fields_set else KEEP
        wish = Wish(wanted.title, wanted.max, password, wanted.slow_mode_s)
        return JSONResponse(await rooms.change(RoomId(room_id), owner, wish))

    @router.delete(
        "/{room_id}",
        status_code=204,
        response_class=Response,
        responses=problems(
            errors.SESSION_REQUIRED,
            errors.ORIGIN_REFUSED,
            errors.ROOM_NOT_FOUND,
            errors.NOT_OWNER,
            errors.OUTCOME_UNKNOWN,
        ),
    )
    async def delete_room(room_id: RoomIdText, owner: Caller) -> None:
        """Remove the room with all that is in it, as its owner."""
        await rooms.delete(RoomId(room_id), owner)

    @router.post(
        "/{room_id}/tickets",
        status_code=201,
        response_model=Ticket,
        responses=problems(
            *_CHANGING,
            errors.ROOM_NOT_FOUND,
            errors.BANNED,
            errors.PASSWORD_REQUIRED,
            errors.WRONG_PASSWORD,
            errors.TOO_MANY_ATTEMPTS,
            errors.ROOM_FULL,
        ),
    )
    async def issue_ticket(
        room_id: RoomIdText, who: Caller, request: Request, wanted: Annotated[TicketRequest | None, Body()] = None
    ) -> JSONResponse:
        """Ask for a ticket, with the password if the room has one."""
        password = None if wanted is None else wanted.password
        issued = await admission.issue_ticket(RoomId(room_id), who, address_of(request), password)
        body = {
            "ticket": issued.ticket,
            "expires_at": events.timestamp(issued.expires_at),
            "room": room_payload(issued.room, issued.members),
        }
        return JSONResponse(body, 201, {"Cache-Control": "no-store"})

    return router


def _searched(q: str) -> str:
    """The part of a title that is looked for: what no title can have in it cannot be looked for either."""
    if not q.strip():
        return ""
    try:
        return title_of(q)
    except BadTitleError as error:
        raise Refused(errors.VALIDATION_FAILED, detail=f"q: {error}") from error


def _cursor(place: Place, sort: Sort) -> str:
    return base64.urlsafe_b64encode(f"{sort}:{place.key}:{place.room_id}".encode()).decode().rstrip("=")


def _place(cursor: str | None, sort: Sort) -> Place | None:
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise Refused(errors.VALIDATION_FAILED, detail="cursor: not one of ours") from error
    match = _CURSOR.match(text)
    if match is None or match[1] != sort or int(match[2]) > _MAX_KEY[sort]:
        raise Refused(errors.VALIDATION_FAILED, detail="cursor: not one of this sort order")
    return Place(int(match[2]), RoomId(match[3]))


_MAX_KEY: dict[Sort, int] = {"newest": 253_402_300_799_999, "members": MAX_SEQ}
"""Milliseconds of the last moment of the year 9999: MongoDB could go on, Python's dates cannot."""
