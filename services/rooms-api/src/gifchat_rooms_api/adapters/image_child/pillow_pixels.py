"""Decode JPEGs and WebPs with Pillow, and encode a JPEG again if pixels are missing."""

from contextlib import suppress
from io import BytesIO

from PIL import Image, ImageFile

from gifchat_rooms_api.adapters.image_child.decoded import Decoded


def decode_jpeg(data: bytes, *, again: bool) -> Decoded:
    """Decode a walked JPEG. Missing pixels become grey, as in browsers; `again`: encode it again in any case."""
    try:
        image = _jpeg(data, strict=True)
    except OSError:
        image, again = _jpeg(data, strict=False), True
    repaired = BytesIO()
    if again:
        # `keep` uses the same tables, so that intact pixels hardly change.
        image.save(repaired, "JPEG", quality="keep", icc_profile=image.info.get("icc_profile"))
    return Decoded("JPEG", image, repaired.getvalue())


def _jpeg(data: bytes, *, strict: bool) -> Image.Image:
    ImageFile.LOAD_TRUNCATED_IMAGES = not strict
    with Image.open(BytesIO(data), formats=["JPEG"]) as image:
        image.load()
    return image


def decode_webp(data: bytes, frames: int) -> Decoded:
    """Decode every frame of a walked WebP, one after the other.

    Raises:
        ValueError: the picture has more than `frames` frames.
        Exception: Pillow cannot decode a frame.
    """
    with Image.open(BytesIO(data), formats=["WEBP"]) as image:
        first = image.copy()
        for index in range(1, frames):
            image.seek(index)
            image.load()
        with suppress(EOFError):
            image.seek(frames)
            raise ValueError(f"more than {frames} frames")
    return Decoded("WEBP", first, lossless=data[12:16] == b"VP8L")
