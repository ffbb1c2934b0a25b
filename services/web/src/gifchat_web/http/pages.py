"""The original's pages and forms, with its URLs, fields, order of checks and redirects."""

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gifchat_chassis.problems import retry_after
from gifchat_contracts import errors, limits
from gifchat_contracts.errors import ErrorCode, Refused
from gifchat_contracts.ids import RoomId
from gifchat_web.http.caller import caller_of, room_id_of
from gifchat_web.http.forms import read_form
from gifchat_web.http.language import language_for
from gifchat_web.http.rendering import Pages, wants_json
from gifchat_web.ports import RoomsApi, Sort

_ERROR_MAX_CHARS = 200


def pages_router(rooms_api: RoomsApi, pages: Pages) -> APIRouter:
    """Build the routes of the pages and of their forms."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def list_rooms(
        request: Request,
        error: str = "",
        q: Annotated[str, Query(max_length=limits.TITLE_MAX_CHARS)] = "",
        sort: Sort = "newest",
        cursor: Annotated[str | None, Query(max_length=512)] = None,
    ) -> Response:
        """Show the table of rooms, with `error` above it."""
        page = await rooms_api.list_rooms(caller_of(request), query=q, sort=sort, cursor=cursor)
        shown: dict[str, Any] = {"rooms": page.items, "next_cursor": page.next_cursor, "q": q, "sort": sort}
        data = {"page": "rooms", **shown}
        return pages.page(request, "rooms.html", error=error[:_ERROR_MAX_CHARS], data=data, **shown)

    @router.get("/room")
    async def new_room_form(request: Request) -> Response:
        return _form(request)

    @router.post("/room")
    async def create_room(request: Request) -> Response:
        """Create a room and go there. Its owner needs no password."""
        form = await read_form(request)
        title, max_text = form.get("title", "").strip(), form.get("max", "").strip()
        try:
            max_members = _max_members(max_text)
            room = await rooms_api.create_room(caller_of(request), title, max_members, form.get("password") or None)
        except Refused as refused:
            if refused.code != errors.VALIDATION_FAILED or wants_json(request):
                raise
            return _form(request, refused.code, title, max_text)
        return RedirectResponse(f"/room/{room['_id']}", 302)

    @router.get("/room/{room_id}")
    async def enter_room(request: Request, room_id: str) -> Response:
        """Show the chat page, ask for the password, or go back to the list with the reason for the refusal.

        rooms-api checks a password in the URL at once. If it is right, the browser is redirected to the URL without it.
        """
        password = request.query_params.get("password")
        try:
            room = await rooms_api.admit(caller_of(request), room_id_of(room_id), password)
        except Refused as refused:
            if refused.code == errors.PASSWORD_REQUIRED:
                return await _ask_password(request, RoomId(room_id))
            return _refuse_entry(request, refused)
        if password is not None:
            return RedirectResponse(f"/room/{room['_id']}", 303)
        return pages.page(request, "room.html", room=room, data={"page": "room", "room": room})

    @router.get("/room/{room_id}/password")
    async def password_form(room_id: str) -> Response:
        """Go to the room, which asks for the password. After a wrong password, the address bar shows this URL."""
        return RedirectResponse(f"/room/{room_id_of(room_id)}", 303)

    @router.post("/room/{room_id}/password")
    async def give_password(request: Request, room_id: str) -> Response:
        """Let rooms-api check a password; go to the room if it is right, else ask again."""
        password = (await read_form(request)).get("password", "")
        try:
            await rooms_api.admit(caller_of(request), room_id_of(room_id), password)
        except Refused as refused:
            if refused.code in (errors.WRONG_PASSWORD, errors.PASSWORD_REQUIRED, errors.TOO_MANY_ATTEMPTS):
                return await _ask_password(request, RoomId(room_id), refused)
            return _refuse_entry(request, refused)
        return RedirectResponse(f"/room/{room_id}", 303)

    def _form(request: Request, code: ErrorCode | None = None, title: str = "", max_text: str = "") -> Response:
        error = code.text(language_for(request)) if code else ""
        return pages.page(
            request,
            "new_room.html",
            code.status if code else 200,
            error=error,
            room_title=title,
            room_max=max_text or str(limits.ROOM_MAX_DEFAULT),
            data={"page": "new_room"},
        )

    async def _ask_password(request: Request, room_id: RoomId, refused: Refused | None = None) -> Response:
        try:
            room = await rooms_api.get_room(caller_of(request), room_id)
        except Refused as gone:
            return _refuse_entry(request, gone)
        error = refused.code.text(language_for(request)) if refused else ""
        status = refused.code.status if refused else 200
        response = pages.page(request, "password.html", status, room=room, error=error, data={"page": "password"})
        if refused and refused.retry_after_s:
            response.headers["Retry-After"] = retry_after(refused.retry_after_s)
        return response

    return router


def _refuse_entry(request: Request, refused: Refused) -> Response:
    """Go back to the list with the reason, as in the original.

    Raises:
        Refused: `refused` itself, if a server failed or the client is a program.
    """
    if refused.code.status >= 500 or wants_json(request):
        raise refused
    return RedirectResponse(f"/?error={quote(refused.code.text(language_for(request)), safe='')}", 302)


def _max_members(value: str) -> int:
    if not value:
        return limits.ROOM_MAX_DEFAULT
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        raise Refused(errors.VALIDATION_FAILED)
    return int(value)
