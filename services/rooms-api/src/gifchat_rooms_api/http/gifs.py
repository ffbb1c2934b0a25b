"""GIFs: upload one into a room, and serve them to everyone."""

import asyncio
import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, Field

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.events import gif_url, still_url
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import GifId, RoomId
from gifchat_rooms_api.domain.gif import StoredGif
from gifchat_rooms_api.http.byte_ranges import UnsatisfiableRangeError, byte_range, matches
from gifchat_rooms_api.http.deps import Guards, address_of
from gifchat_rooms_api.http.gif_upload import REQUEST_BODY, read_gif
from gifchat_rooms_api.http.message_schemas import GifIdText, RoomIdText
from gifchat_rooms_api.http.problems import MEMBER_PROBLEMS, problem, problems
from gifchat_rooms_api.ports import Rooms
from gifchat_rooms_api.use_cases.group_commit import Rule
from gifchat_rooms_api.use_cases.open_gif import GifFile, OpenGif
from gifchat_rooms_api.use_cases.read_rooms import existing_room
from gifchat_rooms_api.use_cases.upload_gif import UploadGif

MAX_UPLOADS = 32
"""Concurrent uploads in this process; further ones are refused before their bodies are read.

Each upload holds up to two copies of the file, 10 MiB each, and the decoder's output until the GIF is stored.
"""

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
_EXAMPLE = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_CACHE_FOR_EVER = "public, max-age=31536000, immutable"


class Upload(BaseModel):
    """A stored GIF."""

    id: GifIdText
    file: str = Field(description="Served at `/gif/<file>`.", examples=[f"{_EXAMPLE}.gif"])
    content_type: str = Field(examples=["image/gif"])
    bytes: int = Field(
        description="Size of the stored file. Without metadata it may be smaller than the upload.", examples=[8192]
    )
    width: int = Field(examples=[320])
    height: int = Field(examples=[240])
    frames: int = Field(examples=[12])
    url: str = Field(examples=[f"/gif/{_EXAMPLE}.gif"])
    still_url: str = Field(description="The first frame as PNG.", examples=[f"/gif/{_EXAMPLE}.still.png"])


def gifs_router(upload: UploadGif, rooms: Rooms, *, guards: Guards, clock: Callable[[], datetime]) -> APIRouter:
    """Return the route `/rooms/{room_id}/gifs`."""
    router = APIRouter(prefix="/rooms/{room_id}/gifs", tags=["gifs"])
    slots = asyncio.Semaphore(MAX_UPLOADS)

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
        """Upload a GIF, to post it with a message. A GIF that no message shows is removed after a while."""
        rule(await existing_room(rooms, RoomId(room_id)), clock())
        await upload.count(sender.user_id, address_of(request))
        if slots.locked():
            raise Refused(errors.UNAVAILABLE)
        async with slots:
            stored = await upload.upload(await read_gif(request))
        return JSONResponse(_upload(stored), status_code=201, headers={"Location": gif_url(stored.file)})

    return router


def gif_files_router(gifs: OpenGif) -> APIRouter:
    """Return the route `/gif/{file}`."""
    router = APIRouter(prefix="/gif", tags=["gifs"])
    answers = problems(errors.GIF_NOT_FOUND, errors.RANGE_NOT_SATISFIABLE)
    for status, description in ((206, "The part that `Range` asks for."), (304, "`If-None-Match`: unchanged.")):
        answers[status] = {"description": description}
    for status in (200, 206):
        answers.setdefault(status, {})["content"] = {
            f"image/{name}": {"schema": {"type": "string", "format": "binary"}}
            for name in ("gif", "png", "jpeg", "webp")
        }

    @router.head("/{file}", include_in_schema=False)
    @router.get("/{file}", response_class=Response, responses=answers)
    async def get_gif(
        request: Request,
        file: Annotated[
            str, Path(description="The file name from `gif`, `url` or `still_url`.", examples=[f"{_EXAMPLE}.gif"])
        ],
        wanted: Annotated[str | None, Header(alias="Range", examples=["bytes=0-1023"])] = None,
        if_range: Annotated[str | None, Header(description="The `ETag` that `Range` refers to.")] = None,
        if_none_match: Annotated[str | None, Header(description="The `ETag` that the client has cached.")] = None,
    ) -> Response:
        """Get a GIF, or its first frame as a still. The content behind a name never changes."""
        named = _FILE_NAME.fullmatch(file)
        if named is None:
            raise Refused(errors.GIF_NOT_FOUND)
        found = await gifs.open(GifId(named[1]), named[2])
        headers = _SECURITY_HEADERS | {"ETag": f'"{found.ref.digest}"', "Cache-Control": _CACHE_FOR_EVER}
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
        return _part_of(found, part, headers, body=request.method == "GET")

    return router


def _part_of(file: GifFile, part: tuple[int, int] | None, headers: dict[str, str], *, body: bool) -> Response:
    start, stop = part or (0, file.ref.size)
    headers["Content-Length"] = str(stop - start)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file.ref.size}"
    status = 200 if part is None else 206
    if not body:
        return Response(status_code=status, headers=headers, media_type=file.content_type)
    return StreamingResponse(file.blob.read(start, stop), status, headers, media_type=file.content_type)


def _upload(gif: StoredGif) -> dict[str, str | int]:
    return {
        "id": gif.gif_id,
        "file": gif.file,
        "content_type": gif.format.content_type,
        "bytes": gif.size,
        "width": gif.width,
        "height": gif.height,
        "frames": gif.frames,
        "url": gif_url(gif.file),
        "still_url": still_url(gif.gif_id),
    }
