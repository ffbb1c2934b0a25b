"""The original's pages and forms, with its URLs, fields, order of checks and redirects."""

from typing import Any, get_args
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gifchat_chassis.problems import retry_after
from gifchat_contracts import errors, limits
from gifchat_contracts.errors import ErrorCode, Refused
from gifchat_web.domain.shown_error import error_of, error_value
from gifchat_web.http.caller import caller_of, room_id_of
from gifchat_web.http.forms import read_form, read_query
from gifchat_web.http.language import language_for
from gifchat_web.http.rendering import Pages, wants_json
from gifchat_web.ports import RoomsApi, Sort
from gifchat_web.use_cases.list_rooms import ListRooms

_CURSOR_MAX_CHARS = 512
_QUERY_MAX_CHARS = limits.TITLE_MAX_BYTES * limits.RAW_CHARS_PER_BYTE
_SORTS: dict[str, Sort] = {sort: sort for sort in get_args(Sort)}


def list_route(lists: ListRooms, pages: Pages) -> Route:
    """Return the route of the list of rooms."""

    async def list_rooms(request: Request) -> Response:
        """Show the table of rooms, with the text of the parameter `error` above it."""
        asked = read_query(request)
        query, cursor, sort = asked.get("q", ""), asked.get("cursor"), _SORTS.get(asked.get("sort", "newest"))
        if sort is None or len(query) > _QUERY_MAX_CHARS or len(cursor or "") > _CURSOR_MAX_CHARS:
            raise Refused(errors.VALIDATION_FAILED)
        page = await lists.page(caller_of(request), query=query, sort=sort, cursor=cursor)
        refusal = error_of(asked.get("error", ""))
        error = refusal.text(language_for(request)) if refusal else ""
        shown: dict[str, Any] = {"rooms": page.items, "next_cursor": page.next_cursor, "q": query, "sort": sort}
        data = {"page": "rooms", **shown}
        # A page of the list belongs to one query, sort and cursor, so they need not be part of the key.
        return pages.page(request, "rooms.html", same=(page, error), error=error, data=data, **shown)

    return Route("/", list_rooms)


def room_routes(rooms_api: RoomsApi, lists: ListRooms, pages: Pages) -> list[Route]:
    """Return the routes of a room's page and of the forms."""

    async def new_room_form(request: Request) -> Response:
        return _form(request)

    async def create_room(request: Request) -> Response:
        """Create a room and go there. Its owner needs no password."""
        form = await read_form(request)
        title, max_text = form.get("title", ""), form.get("max", "").strip()
        try:
            max_members = _max_members(max_text)
            room = await rooms_api.create_room(caller_of(request), title, max_members, form.get("password") or None)
        except Refused as refused:
            if refused.code.status != errors.VALIDATION_FAILED.status or wants_json(request):
                raise
            return _form(request, refused.code, title, max_text)
        lists.drop()
        return RedirectResponse(f"/room/{room['_id']}", 302)

    async def enter_room(request: Request) -> Response:
        """Show the chat page, ask for the password, or go back to the list with the reason for the refusal.

        rooms-api checks a password in the URL at once. If it is right, the browser is redirected to the URL without it.
        """
        password = request.query_params.get("password")
        try:
            room = await rooms_api.admit(caller_of(request), room_id_of(request), password)
        except Refused as refused:
            if refused.code == errors.PASSWORD_REQUIRED:
                return await _ask_password(request)
            return _refuse_entry(request, refused)
        if password is not None:
            return RedirectResponse(f"/room/{room['_id']}", 303)
        same = tuple(room.items())
        return pages.page(request, "room.html", same=same, room=room, data={"page": "room", "room": room})

    async def password_form(request: Request) -> Response:
        """Go to the room, which asks for the password. After a wrong password, the address bar shows this URL."""
        return RedirectResponse(f"/room/{room_id_of(request)}", 303)

    async def give_password(request: Request) -> Response:
        """Let rooms-api check a password; go to the room if it is right, else ask again."""
        password = (await read_form(request)).get("password", "")
        try:
            room = await rooms_api.admit(caller_of(request), room_id_of(request), password)
        except Refused as refused:
            if refused.code in (errors.WRONG_PASSWORD, errors.PASSWORD_REQUIRED, errors.TOO_MANY_ATTEMPTS):
                return await _ask_password(request, refused)
            return _refuse_entry(request, refused)
        return RedirectResponse(f"/room/{room['_id']}", 303)

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

    async def _ask_password(request: Request, refused: Refused | None = None) -> Response:
        try:
            room = await rooms_api.get_room(caller_of(request), room_id_of(request))
        except Refused as gone:
            return _refuse_entry(request, gone)
        error = refused.code.text(language_for(request)) if refused else ""
        status = refused.code.status if refused else 200
        response = pages.page(request, "password.html", status, room=room, error=error, data={"page": "password"})
        if refused and refused.retry_after_s:
            response.headers["Retry-After"] = retry_after(refused.retry_after_s)
        return response

    return [
        Route("/room/{room_id}", enter_room),
        Route("/room", new_room_form),
        Route("/room", create_room, methods=["POST"]),
        Route("/room/{room_id}/password", password_form),
        Route("/room/{room_id}/password", give_password, methods=["POST"]),
    ]


def _refuse_entry(request: Request, refused: Refused) -> Response:
    """Go back to the list with the reason, as in the original.

    Raises:
        Refused: `refused` itself, if a server failed or the client is a program.
    """
    if refused.code.status >= 500 or wants_json(request):
        raise refused
    return RedirectResponse(f"/?error={quote(error_value(refused.code), safe='')}", 302)


def _max_members(value: str) -> int:
    if not value:
        return limits.ROOM_MAX_DEFAULT
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        raise Refused(errors.VALIDATION_FAILED)
    return int(value)
