"""The child process that decodes one untrusted picture: `python -m gifchat_rooms_api.adapters.image_child`.

Before it reads the picture, it limits its own memory, CPU time and open files. A picture that crashes a decoder ends
only this process.

argv: format (`gif`, `png`, `jpg`, `webp`), frames, orientation (1–8), longest side of the still, memory limit in
    bytes, CPU limit in seconds.
stdin: the picture.
stdout: two big-endian 32-bit lengths, then the still (PNG), then the upright picture (empty if the orientation is 1
    or the picture is animated).
exit code: 0, or `BROKEN` if the picture does not decode. Any other code, or a signal, means that the picture crashed
    the process.
"""

import resource
import struct
import sys
import warnings
from contextlib import suppress
from io import BytesIO

from PIL import Image

BROKEN = 3

_FORMATS = {"gif": "GIF", "png": "PNG", "jpg": "JPEG", "webp": "WEBP"}
_MAX_OPEN_FILES = 32
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def main(argv: list[str]) -> int:
    """Decode the picture on standard input; see the module's docstring."""
    name, *numbers = argv
    frames, orientation, still_side, memory_bytes, cpu_s = map(int, numbers)
    _limit_resources(memory_bytes, cpu_s)
    data = sys.stdin.buffer.read()
    # Decoders raise anything from SyntaxError to MemoryError. Every error means that the picture is broken.
    try:
        first = _first_frame(data, _FORMATS[name], frames)
        upright = b""
        if frames == 1 and orientation in _TRANSPOSE:
            first = first.transpose(_TRANSPOSE[orientation])
            upright = _encoded(first, _FORMATS[name], lossless=data[12:16] == b"VP8L")
        still = _still(first, still_side)
    except Exception as error:
        sys.stderr.write(f"{type(error).__name__}: {error}"[:500])
        return BROKEN
    sys.stdout.buffer.write(struct.pack(">II", len(still), len(upright)) + still + upright)
    sys.stdout.buffer.flush()
    return 0


def _limit_resources(memory_bytes: int, cpu_s: int) -> None:
    for resource_id, limit in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _MAX_OPEN_FILES),
    ):
        resource.setrlimit(resource_id, (limit, limit))


def _first_frame(data: bytes, format_name: str, frames: int) -> Image.Image:
    """Decode every frame and return the first.

    Raises:
        ValueError: the picture has more than `frames` frames.
        Exception: Pillow cannot decode a frame.
    """
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    with Image.open(BytesIO(data), formats=[format_name]) as image:
        first = image.copy()
        for index in range(1, frames):
            image.seek(index)
            image.load()
        with suppress(EOFError):
            image.seek(frames)
            raise ValueError(f"more than {frames} frames")
    return first


def _encoded(picture: Image.Image, format_name: str, *, lossless: bool) -> bytes:
    options = {"JPEG": {"quality": 90}, "WEBP": {"quality": 90, "lossless": lossless}}.get(format_name, {})
    out = BytesIO()
    picture.save(out, format_name, icc_profile=picture.info.get("icc_profile"), **options)
    return out.getvalue()


def _still(picture: Image.Image, longest_side: int) -> bytes:
    if picture.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion would turn every value above 255 white.
        picture = picture.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    small = picture.convert(_still_mode(picture))
    small.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    out = BytesIO()
    profile = picture.info.get("icc_profile") if picture.mode in ("L", "P", "RGB", "RGBA") else None
    small.save(out, "PNG", icc_profile=profile)
    return out.getvalue()


def _still_mode(picture: Image.Image) -> str:
    if picture.has_transparency_data:
        return "RGBA"
    return "L" if picture.mode == "L" else "RGB"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
