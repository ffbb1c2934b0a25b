"""GIFs: upload one into a room, and serve them to everyone."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, Field

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.events import gif_path, gif_url, still_url
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import GifId, RoomId, is_room_id
from gifchat_rooms_api.domain.gif import StoredGif
from gifchat_rooms_api.http.abandoned import while_connected
from gifchat_rooms_api.http.byte_ranges import UnsatisfiableRangeError, byte_range, matches
from gifchat_rooms_api.http.deps import Guards, address_of
from gifchat_rooms_api.http.gif_upload import REQUEST_BODY, UploadDeadlines, read_gif
from gifchat_rooms_api.http.message_schemas import GifIdText, RoomIdText
from gifchat_rooms_api.http.problems import MEMBER_PROBLEMS, problem, problems
from gifchat_rooms_api.http.upload_slots import UploadSlots
from gifchat_rooms_api.ports import Blob, Rooms
from gifchat_rooms_api.use_cases.group_commit import Rule
from gifchat_rooms_api.use_cases.open_gif import GifFile, OpenGif
from gifchat_rooms_api.use_cases.read_rooms import existing_room
from gifchat_rooms_api.use_cases.upload_into_room import UploadIntoRoom

_UPLOAD_PROBLEMS = (
    *MEMBER_PROBLEMS,
    errors.ORIGIN_REFUSED,
    errors.MUTED,
    errors.RATE_LIMITED,
    errors.MALFORMED,
    errors.GIF_WRONG_TYPE,
    errors.GIF_TOO_LARGE,
    errors.GIF_TOO_MANY_PIXELS,
    errors.GIF_BROKEN,
)
_FILE_NAME = re.compile(r"([0-9a-f]{64})\.(gif|png|jpg|webp|still\.png)")
_ROOM = "65f0c0ffee0123456789abcd"
_EXAMPLE = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_NEVER_CACHE = "private, no-store"


class Upload(BaseModel):
    """A stored GIF."""

    id: GifIdText
    file: str = Field(description="Path below `/gif/`.", examples=[f"{_ROOM}/{_EXAMPLE}.gif"])
    content_type: str = Field(examples=["image/gif"])
    bytes: int = Field(
        description="Size of the stored file. Without metadata it may be smaller than the upload.", examples=[8192]
    )
    width: int = Field(examples=[320])
    height: int = Field(examples=[240])
    frames: int = Field(examples=[12])
    url: str = Field(examples=[f"/gif/{_ROOM}/{_EXAMPLE}.gif"])
    still_url: str = Field(description="The first frame as PNG.", examples=[f"/gif/{_ROOM}/{_EXAMPLE}.still.png"])


def gifs_router(
    upload: UploadIntoRoom,
    rooms: Rooms,
    slots: UploadSlots,
    deadlines: UploadDeadlines,
    *,
    guards: Guards,
    clock: Callable[[], datetime],
) -> APIRouter:
    """Return the route `/rooms/{room_id}/gifs`. It checks everything that the headers show before it reads the body."""
    router = APIRouter(prefix="/rooms/{room_id}/gifs", tags=["gifs"])

    @router.post(
        "",
        status_code=201,
        response_model=Upload,
        responses=problems(*_UPLOAD_PROBLEMS),
        openapi_extra={"requestBody": REQUEST_BODY},
    )
    async def upload_gif(
        room_id: RoomIdText,
        request: Request,
        sender: Annotated[Identity, Depends(guards.caller)],
        rule: Annotated[Rule, Depends(guards.writer_rule)],
    ) -> JSONResponse:
        """Upload a GIF, to post it with a message. Until a message shows it, its address works for a while."""
        rule(await existing_room(rooms, RoomId(room_id)), clock())
        address = address_of(request)
        with slots.taken(address):
            await upload.store.count(sender.user_id, address)
            data = await read_gif(request, deadlines)
            work = upload.upload(RoomId(room_id), sender.user_id, address, data)
            stored = await while_connected(request, work)
        answer = _upload(RoomId(room_id), stored)
        return JSONResponse(answer, status_code=201, headers={"Location": str(answer["url"])})

    return router


def gif_files_router(gifs: OpenGif, shared_cache_s: int) -> APIRouter:
    """Return the route `/gif/{room_id}/{file}`. Shared caches may keep a file for `shared_cache_s` seconds."""
    router = APIRouter(prefix="/gif", tags=["gifs"])
    answers = problems(errors.GIF_NOT_FOUND, errors.RANGE_NOT_SATISFIABLE)
    for status, description in ((206, "The part that `Range` asks for."), (304, "`If-None-Match`: unchanged.")):
        answers[status] = {"description": description}
    for status in (200, 206):
        answers.setdefault(status, {})["content"] = {
            f"image/{name}": {"schema": {"type": "string", "format": "binary"}}
            for name in ("gif", "png", "jpeg", "webp")
        }

    cache_shown = f"public, max-age=0, s-maxage={shared_cache_s}, must-revalidate"

    @router.head("/{room_id}/{file}", include_in_schema=False)
    @router.get("/{room_id}/{file}", response_class=Response, responses=answers)
    async def get_gif(
        request: Request,
        room_id: Annotated[str, Path(description="The room that shows the GIF.", examples=[_ROOM])],
        *,
        file: Annotated[
            str, Path(description="The file name from `gif`, `url` or `still_url`.", examples=[f"{_EXAMPLE}.gif"])
        ],
        wanted: Annotated[str | None, Header(alias="Range", examples=["bytes=0-1023"])] = None,
        if_range: Annotated[str | None, Header(description="The `ETag` that `Range` refers to.")] = None,
        if_none_match: Annotated[str | None, Header(description="The `ETag` that the client has cached.")] = None,
    ) -> Response:
        """Get a GIF of a room, or its first frame as a still.

        The content behind an address never changes, but the address dies with the last message of the room that shows
        the GIF. Caches must therefore revalidate, which costs one indexed look-up.
        """
        named = _FILE_NAME.fullmatch(file)
        if named is None or not is_room_id(room_id):
            raise Refused(errors.GIF_NOT_FOUND)
        found = await gifs.find(room_id, GifId(named[1]), named[2])
        headers = _SECURITY_HEADERS | {
            "ETag": f'"{found.ref.digest}"',
            "Cache-Control": cache_shown if found.shown else _NEVER_CACHE,
        }
        if matches(headers["ETag"], if_none_match):
            return Response(status_code=304, headers=headers)
        if request.method != "GET" or if_range not in (None, headers["ETag"]):
            wanted = None
        try:
            part = byte_range(wanted, found.ref.size)
        except UnsatisfiableRangeError:
            return problem(
                request,
                errors.RANGE_NOT_SATISFIABLE,
                headers={"Content-Range": f"bytes */{found.ref.size}", **_SECURITY_HEADERS},
            )
        headers |= {"Accept-Ranges": "bytes", "Content-Disposition": f'inline; filename="{file}"'}
        blob = await gifs.open(found) if request.method == "GET" else None
        return _part_of(found, part, headers, blob)

    return router


def _part_of(file: GifFile, part: tuple[int, int] | None, headers: dict[str, str], blob: Blob | None) -> Response:
    start, stop = part or (0, file.ref.size)
    headers["Content-Length"] = str(stop - start)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file.ref.size}"
    status = 200 if part is None else 206
    if blob is None:
        return Response(status_code=status, headers=headers, media_type=file.content_type)
    return StreamingResponse(blob.read(start, stop), status, headers, media_type=file.content_type)


def _upload(room_id: RoomId, gif: StoredGif) -> dict[str, str | int]:
    return {
        "id": gif.gif_id,
        "file": gif_path(room_id, gif.file),
        "content_type": gif.format.content_type,
        "bytes": gif.size,
        "width": gif.width,
        "height": gif.height,
        "frames": gif.frames,
        "url": gif_url(room_id, gif.file),
        "still_url": still_url(room_id, gif.gif_id),
    }
