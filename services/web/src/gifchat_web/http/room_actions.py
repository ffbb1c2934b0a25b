"""The original's requests inside a room: delete it, post a text, post a GIF. Each answers `ok`."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gifchat_web.http.caller import caller_of, room_id_of
from gifchat_web.http.forms import check_gif_upload, read_form
from gifchat_web.ports import RoomsApi
from gifchat_web.use_cases.list_rooms import ListRooms


def room_action_routes(rooms_api: RoomsApi, lists: ListRooms) -> list[Route]:
    """Return the routes that the original's scripts called inside a room."""

    async def remove_room(request: Request) -> Response:
        await rooms_api.remove_room(caller_of(request), room_id_of(request))
        lists.drop()
        return PlainTextResponse("ok")

    async def post_chat(request: Request) -> Response:
        """Post the field `chat`."""
        text = (await read_form(request)).get("chat", "")
        await rooms_api.post_text(caller_of(request), room_id_of(request), text)
        return PlainTextResponse("ok")

    async def post_gif(request: Request) -> Response:
        """Store the multipart field `gif` and post it."""
        room, caller = room_id_of(request), caller_of(request)
        content_type = check_gif_upload(request)
        length = request.headers.get("content-length")
        gif_id = await rooms_api.upload_gif(caller, room, content_type, length, request.stream())
        await rooms_api.post_gif(caller, room, gif_id)
        return PlainTextResponse("ok")

    return [
        Route("/room/{room_id}", remove_room, methods=["DELETE"]),
        Route("/room/{room_id}/chat", post_chat, methods=["POST"]),
        Route("/room/{room_id}/gif", post_gif, methods=["POST"]),
    ]
