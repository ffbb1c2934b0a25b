"""Pictures for tests, made with Pillow, and builders for parts of picture files."""

import struct
from io import BytesIO
from typing import Any
from zlib import crc32

from PIL import Image

FORMATS = {"gif": "GIF", "png": "PNG", "jpg": "JPEG", "webp": "WEBP"}
"""Pillow's format names, by the file extension that we store."""


def picture(extension: str, width: int = 40, height: int = 30, frames: int = 1, **options: Any) -> bytes:
    """Create a picture with `frames` different frames; `options` go to Pillow's `save`."""
    images = [_frame(width, height, index) for index in range(frames)]
    if extension == "gif":
        images = [image.quantize(32) for image in images]
    if frames > 1:
        options |= {"save_all": True, "append_images": images[1:], "duration": 80}
    out = BytesIO()
    images[0].save(out, FORMATS[extension], **options)
    return out.getvalue()


def pixels(data: bytes) -> list[bytes]:
    """Decode a picture and return the pixels of every frame."""
    decoded = []
    with Image.open(BytesIO(data)) as image:
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            decoded.append(image.convert("RGBA").tobytes())
    return decoded


def png_chunk(name: bytes, content: bytes) -> bytes:
    """Build a PNG chunk with its checksum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc32(name + content))


def riff_chunk(name: bytes, content: bytes) -> bytes:
    """Build a WebP chunk."""
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def webp_of(*chunks: bytes) -> bytes:
    """Build a WebP container around `chunks`."""
    return riff_chunk(b"RIFF", b"WEBP" + b"".join(chunks))


def exif_with_orientation(orientation: int) -> bytes:
    """Build EXIF data with JPEG's `Exif` prefix, an orientation and an author."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x013B] = "a photographer"
    return bytes(exif.tobytes())


def _frame(width: int, height: int, index: int) -> Image.Image:
    """Create an asymmetric picture, so that every rotation is visible."""
    image = Image.new("RGB", (width, height), (200, 40 + index * 20 % 200, 40))
    image.paste((30, 60, 220), (width // 2, 0, width, height // 2))
    image.paste((240, 240, 10 + index * 7 % 200), (0, height // 2, width // 4, height))
    image.putpixel((index % width, 0), (255, 255, 255))
    return image
