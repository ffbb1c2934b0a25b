"""What may be uploaded as a GIF, decided by its bytes alone: before anything is decoded, and without any name."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from hashlib import sha256

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import GifId
from gifchat_rooms_api.domain.gif_containers import gif, jpeg, png, webp
from gifchat_rooms_api.domain.gif_containers.reading import BrokenError, TooManyPixelsError, Walked

STILL_MAX_SIDE = 480
"""The longer side of the still first frame, in pixels."""

IN_FLIGHT = timedelta(minutes=1)
"""Longer than an upload or a message takes from its first write to its last: nothing younger is ever swept."""


class Format(Enum):
    """The formats that are taken. The value is the extension of their files."""

    GIF = "gif"
    PNG = "png"
    JPEG = "jpg"
    WEBP = "webp"

    @property
    def content_type(self) -> str:
        """The media type that their files are served as."""
        return f"image/{self.name.lower()}"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that is within the limits, without metadata; whether its pixels can be decoded is not known yet."""

    format: Format
    width: int
    height: int
    frames: int
    orientation: int
    """1–8 as in EXIF; other than 1: it must be turned, because the EXIF data that said so is gone."""
    data: bytes


@dataclass(frozen=True, slots=True)
class StoredGif:
    """A GIF as it is kept, without its bytes."""

    gif_id: GifId
    format: Format
    size: int
    """Bytes."""
    width: int
    height: int
    frames: int

    @property
    def file(self) -> str:
        """The name that it is served under."""
        return f"{self.gif_id}.{self.format.value}"


_WALKERS: dict[Format, Callable[[bytes], Walked]] = {
    Format.GIF: gif.walk,
    Format.PNG: png.walk,
    Format.JPEG: jpeg.walk,
    Format.WEBP: webp.walk,
}


def format_of(data: bytes) -> Format | None:
    """The format whose signature `data` starts with."""
    if data.startswith(gif.SIGNATURES):
        return Format.GIF
    if data.startswith(png.SIGNATURE):
        return Format.PNG
    if data.startswith(jpeg.SIGNATURE):
        return Format.JPEG
    if data.startswith(webp.RIFF) and data[8:12] == webp.WEBP:
        return Format.WEBP
    return None


def examine(data: bytes) -> Picture:
    """Measure `data` and take its metadata away, without decoding it. Up to a second of work for 10 MiB of malice.

    Raises:
        Refused: `GIF_WRONG_TYPE`, `GIF_TOO_MANY_PIXELS`, `GIF_BROKEN`.
    """
    found = format_of(data)
    if found is None:
        raise Refused(errors.GIF_WRONG_TYPE)
    try:
        walked = _WALKERS[found](data)
    except TooManyPixelsError as error:
        raise Refused(errors.GIF_TOO_MANY_PIXELS) from error
    except BrokenError as error:
        raise Refused(errors.GIF_BROKEN) from error
    return Picture(found, walked.width, walked.height, walked.frames, walked.orientation, walked.clean)


def stored_gif(picture: Picture) -> StoredGif:
    """What is kept of `picture` beside its bytes."""
    return StoredGif(
        gif_id=GifId(sha256(picture.data).hexdigest()),
        format=picture.format,
        size=len(picture.data),
        width=picture.width,
        height=picture.height,
        frames=picture.frames,
    )
