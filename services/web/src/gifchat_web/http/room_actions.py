"""The original's requests inside a room: delete it, post a text, post a GIF. Each answers `ok`."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from gifchat_contracts import errors, limits
from gifchat_contracts.errors import Refused
from gifchat_web.http.caller import caller_of, room_id_of
from gifchat_web.http.forms import check_gif_upload, read_form
from gifchat_web.ports import RoomsApi


def room_actions_router(rooms_api: RoomsApi) -> APIRouter:
    """Build the routes that the original's scripts called inside a room."""
    router = APIRouter(include_in_schema=False)

    @router.delete("/room/{room_id}")
    async def remove_room(request: Request, room_id: str) -> Response:
        await rooms_api.remove_room(caller_of(request), room_id_of(room_id))
        return PlainTextResponse("ok")

    @router.post("/room/{room_id}/chat")
    async def post_chat(request: Request, room_id: str) -> Response:
        """Post the field `chat`."""
        text = (await read_form(request)).get("chat", "")
        if not text.strip() or len(text) > limits.TEXT_MAX_CHARS:
            raise Refused(errors.VALIDATION_FAILED)
        await rooms_api.post_text(caller_of(request), room_id_of(room_id), text)
        return PlainTextResponse("ok")

    @router.post("/room/{room_id}/gif")
    async def post_gif(request: Request, room_id: str) -> Response:
        """Store the multipart field `gif` and post it."""
        room, caller = room_id_of(room_id), caller_of(request)
        content_type = check_gif_upload(request)
        length = request.headers.get("content-length")
        gif_id = await rooms_api.upload_gif(caller, room, content_type, length, request.stream())
        await rooms_api.post_gif(caller, room, gif_id)
        return PlainTextResponse("ok")

    return router
