"""Decode the picture on standard input: `python -m gifchat_rooms_api.adapters.image_child`.

Before it reads the picture, the process limits its own memory, CPU time and open files. A picture that crashes a
decoder ends only this process.

argv: format (`gif`, `png`, `jpg`, `webp`), frames, orientation (1–8), whether to encode it again in any case (0 or 1),
    longest side of the still, memory limit in bytes, CPU limit in seconds.
stdin: the picture.
stdout: two big-endian 32-bit lengths, then the still (PNG), then the file to store (empty if it is the input).
exit code: 0, or `BROKEN` if the picture does not decode. Any other code, or a signal, means that the picture crashed
    the process.
"""

import struct
import sys
import warnings

from PIL import Image

from gifchat_rooms_api.adapters.image_child import gif_pixels, pillow_pixels, png_pixels
from gifchat_rooms_api.adapters.image_child.decoded import Decoded
from gifchat_rooms_api.adapters.image_child.resources import limit_resources

BROKEN = 3

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
    """Decode the picture; see the module's docstring."""
    name, *numbers = argv
    frames, orientation, again, still_side, memory_bytes, cpu_s = map(int, numbers)
    limit_resources(memory_bytes, cpu_s)
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    data = sys.stdin.buffer.read()
    # Decoders raise anything from SyntaxError to MemoryError. Every error means that the picture is broken.
    try:
        decoded = _decode(name, data, frames, again=bool(again))
        stored = decoded.repaired
        if frames == 1 and (orientation in _TRANSPOSE or (again and not stored)):
            if orientation in _TRANSPOSE:
                decoded.first = decoded.first.transpose(_TRANSPOSE[orientation])
            stored = decoded.encoded_again()
        still = decoded.still(still_side)
    except Exception as error:
        sys.stderr.write(f"{type(error).__name__}: {error}"[:500])
        return BROKEN
    sys.stdout.buffer.write(struct.pack(">II", len(still), len(stored)) + still + stored)
    sys.stdout.buffer.flush()
    return 0


def _decode(name: str, data: bytes, frames: int, *, again: bool) -> Decoded:
    match name:
        case "gif":
            return gif_pixels.decode(data)
        case "png":
            return png_pixels.decode(data)
        case "jpg":
            return pillow_pixels.decode_jpeg(data, again=again)
        case _:
            return pillow_pixels.decode_webp(data, frames)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
