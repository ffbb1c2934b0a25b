"""Decode and repair GIFs: each frame on its own, as colour indices.

A frame that reaches outside the canvas is cropped, and missing pixels become transparent. Only the indices are encoded
again, so that colours, delays and disposal stay the same.
"""

from dataclasses import replace
from io import BytesIO

from PIL import Image, ImageFile

from gifchat_rooms_api.adapters.image_child.decoded import Decoded
from gifchat_rooms_api.domain.gif_containers import gif
from gifchat_rooms_api.domain.gif_containers.gif import Frame

_BLACK_AND_WHITE = b"\x00\x00\x00\xff\xff\xff"
_COLORS = 256
_INDICES = bytes(255 - index // 3 for index in range(3 * _COLORS))
"""A colour table that Pillow does not mistake for grey. The colours themselves do not matter."""


def decode(data: bytes) -> Decoded:
    """Decode all frames of a walked GIF."""
    head, parts = gif.frames_of(data)
    canvas = int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")
    colors = head[13:] or _BLACK_AND_WHITE
    out = bytearray(head)
    first: Image.Image | None = None
    is_repaired = False
    for part in parts:
        if isinstance(part, bytes):
            out += part
            continue
        frame = part
        try:
            indices = _indices(frame, strict=True)
        except (OSError, SyntaxError, ValueError):
            indices = None
        if indices is None or frame.right > canvas[0] or frame.bottom > canvas[1]:
            frame, indices = _repaired(frame, colors, canvas)
            is_repaired = True
        if first is None:
            first = _on_canvas(frame, indices, colors, canvas)
        out += frame.encoded()
    if first is None:
        raise ValueError("no frame")
    out.append(gif.TRAILER)
    return Decoded("GIF", first, bytes(out) if is_repaired else b"")


def _indices(frame: Frame, *, strict: bool) -> Image.Image:
    """Decode the frame's indices. Unless `strict`, missing indices become the transparent one, or 0.

    Raises:
        OSError, SyntaxError, ValueError: `strict`, and the frame is damaged.
    """
    alone = replace(frame, left=0, top=0, color_table=_INDICES)
    sides = frame.width.to_bytes(2, "little") + frame.height.to_bytes(2, "little")
    file = gif.SIGNATURES[1] + sides + b"\x00\x00\x00" + alone.encoded() + bytes((gif.TRAILER,))
    ImageFile.LOAD_TRUNCATED_IMAGES = not strict
    with Image.open(BytesIO(file), formats=["GIF"]) as image:
        image.load()
    return image


def _repaired(frame: Frame, colors: bytes, canvas: tuple[int, int]) -> tuple[Frame, Image.Image]:
    """Crop the frame, and complete its pixels with transparent ones if a colour is free for them."""
    own = frame.color_table or colors
    transparent = frame.transparent
    if transparent is None and len(own) < 3 * _COLORS:
        transparent = _COLORS - 1
    flags, delay = gif.control_parts(frame.control)
    frame = replace(frame, control=gif.control(flags, delay, transparent))
    box = (0, 0, min(frame.width, canvas[0] - frame.left), min(frame.height, canvas[1] - frame.top))
    indices = _indices(frame, strict=False).crop(box)
    encoded = BytesIO()
    Image.frombytes("L", indices.size, indices.tobytes()).save(encoded, "GIF", optimize=False, interlace=False)
    _, parts = gif.frames_of(encoded.getvalue())
    (code,) = (part.code for part in parts if isinstance(part, Frame))
    width, height = indices.size
    table = own.ljust(3 * _COLORS, b"\x00")
    return replace(frame, width=width, height=height, interlaced=False, color_table=table, code=code), indices


def _on_canvas(frame: Frame, indices: Image.Image, colors: bytes, canvas: tuple[int, int]) -> Image.Image:
    """Show the frame on a transparent canvas."""
    transparent = frame.transparent
    shown = Image.frombytes("P", indices.size, indices.tobytes())
    shown.putpalette((frame.color_table or colors).ljust(3 * _COLORS, b"\x00"))
    opaque = shown.convert("RGB")
    if transparent is None and opaque.size == canvas:
        return opaque
    mask = Image.frombytes("L", indices.size, indices.tobytes()).point(
        [0 if index == transparent else 255 for index in range(_COLORS)]
    )
    whole = Image.new("RGBA", canvas)
    whole.paste(opaque, (frame.left, frame.top), mask)
    return whole
