"""Decide which uploads are accepted as GIFs, from their bytes alone, before anything is decoded."""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from hashlib import sha256
from typing import Protocol

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import GifId
from gifchat_rooms_api.domain.gif_containers import gif, jpeg, png, webp
from gifchat_rooms_api.domain.gif_containers.reading import BrokenError, TooManyPixelsError, Walked

STILL_MAX_SIDE = 480
"""Maximum length of the still's longer side, in pixels."""

IN_FLIGHT_MAX = timedelta(minutes=1)
"""Upper bound on the time from the first to the last write of an upload or a post. Sweeps skip anything younger."""


class Format(Enum):
    """The accepted formats. The value is the file extension."""

    GIF = "gif"
    PNG = "png"
    JPEG = "jpg"
    WEBP = "webp"

    @property
    def content_type(self) -> str:
        """The media type of the served files."""
        return f"image/{self.name.lower()}"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture within the limits, in a container without errors and metadata. Its pixels are not decoded yet."""

    format: Format
    width: int
    height: int
    frames: int
    """Frames that a browser shows; 1 for a still picture."""
    decoded_pixels: int
    """Pixels that a decoder must process."""
    orientation: int
    """1–8 as in EXIF. A still picture must be rotated unless this is 1, because its EXIF data is removed."""
    encode_again: bool
    """Whether the pixels must be encoded again: some may be missing, or not every browser reads their encoding."""
    data: bytes

    @property
    def is_final(self) -> bool:
        """Whether `data` will be stored as it is, unless the decoder finds damage."""
        return self.orientation == 1 and not self.encode_again


@dataclass(frozen=True, slots=True)
class StoredGif:
    """The description of a stored GIF."""

    gif_id: GifId
    format: Format
    size: int
    """Bytes."""
    width: int
    height: int
    frames: int

    @property
    def file(self) -> str:
        """The file name that it is served under."""
        return f"{self.gif_id}.{self.format.value}"


class _Walk(Protocol):
    def __call__(self, data: bytes, *, mend: bool = False) -> Walked: ...


_WALKERS: dict[Format, _Walk] = {
    Format.GIF: gif.walk,
    Format.PNG: png.walk,
    Format.JPEG: jpeg.walk,
    Format.WEBP: webp.walk,
}


def format_of(data: bytes) -> Format | None:
    """Return the format whose signature `data` starts with, or None."""
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
    """Measure `data` and remove its metadata, without decoding it. A hostile 10 MiB file takes up to two seconds.

    If the container has errors that browsers forgive, the result's container is a new one without them.

    Raises:
        Refused: `GIF_WRONG_TYPE`, `GIF_TOO_MANY_PIXELS`, `GIF_BROKEN`.
    """
    found = format_of(data)
    if found is None:
        raise Refused(errors.GIF_WRONG_TYPE)
    walk = _WALKERS[found]
    try:
        try:
            walked = walk(data)
        except BrokenError:
            walked = walk(data, mend=True)
    except TooManyPixelsError as error:
        raise Refused(errors.GIF_TOO_MANY_PIXELS) from error
    except BrokenError as error:
        raise Refused(errors.GIF_BROKEN) from error
    return Picture(
        found,
        walked.width,
        walked.height,
        walked.frames,
        walked.decoded_pixels,
        walked.orientation,
        walked.encode_again,
        walked.clean,
    )


def stored_gif(picture: Picture) -> StoredGif:
    """Return the description of `picture`."""
    gif_id = GifId(sha256(picture.data).hexdigest())
    return StoredGif(gif_id, picture.format, len(picture.data), picture.width, picture.height, picture.frames)
