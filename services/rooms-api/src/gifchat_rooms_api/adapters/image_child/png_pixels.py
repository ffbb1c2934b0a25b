"""Decode and repair PNGs and APNGs. Damaged pixels are repaired in their zlib stream, so that no sample changes."""

import zlib
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageChops

from gifchat_rooms_api.adapters.image_child.decoded import Decoded
from gifchat_rooms_api.domain.gif_containers import png
from gifchat_rooms_api.domain.gif_containers.png import Parts

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_GREY, _RGB = 0, 2
_LAST_FILTER = 4
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Left, top, step to the right, step down of each pass."""
_PIECE_BYTES = 4096


def decode(data: bytes) -> Decoded:
    """Decode all frames of a walked PNG. Frames from the first undecodable one on are dropped."""
    parts = png.parts_of(data)
    layout = _Layout.of(parts.header)
    width, height = int.from_bytes(parts.header[:4]), int.from_bytes(parts.header[4:8])
    pixels = layout.repaired(parts.pixels, width, height)
    is_repaired = pixels != parts.pixels
    parts.pixels = pixels
    for number, frame in enumerate(parts.frames):
        if not frame.data:
            continue
        try:
            repaired = layout.repaired(bytes(frame.data), *frame.box[:2])
        except ValueError:
            del parts.frames[number:]
            is_repaired = True
            break
        is_repaired |= repaired != frame.data
        frame.data = bytearray(repaired)
    if len(parts.frames) == 1 and not parts.frames[0].data:
        parts.frames.clear()
    colors = [(name, content) for name, content in png.chunks_of(parts.appearance) if name in png.COLOR_CHUNKS]
    return Decoded("PNG", _first(parts, (width, height)), parts.encoded() if is_repaired else b"", colors)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the samples of a picture are stored in its stream."""

    bits_per_pixel: int
    interlaced: bool

    @classmethod
    def of(cls, header: bytes) -> "_Layout":
        """Read the layout in `IHDR`.

        Raises:
            ValueError: PNG does not allow this layout.
        """
        depth, color_type, compression, filtering, interlace = header[8:13]
        if color_type not in _CHANNELS or compression or filtering or interlace > 1:
            raise ValueError("an unknown kind of pixels")
        return cls(depth * _CHANNELS[color_type], bool(interlace))

    def repaired(self, stream: bytes, width: int, height: int) -> bytes:
        """Return `stream` if it holds exactly the pixels, or else a stream that does.

        Surplus bytes are dropped, and missing pixels are 0: transparent, or black.

        Raises:
            ValueError: no row is readable.
        """
        passes = list(self._passes(width, height))
        size = sum(rows * stride for rows, stride in passes)
        raw, is_exact = _inflated(stream, size)
        readable = _readable_bytes(raw, passes)
        if is_exact and readable == size:
            return stream
        if readable == 0:
            raise ValueError("no pixels")
        return zlib.compress(raw[:readable].ljust(size, b"\x00"))

    def _passes(self, width: int, height: int) -> list[tuple[int, int]]:
        """Return the number of rows and the bytes of a row, with its filter, of each pass that has any."""
        if not self.interlaced:
            return [(height, self._stride(width))]
        passes = []
        for left, top, right_step, down_step in _ADAM7:
            columns, rows = -(-(width - left) // right_step), -(-(height - top) // down_step)
            if columns > 0 and rows > 0:
                passes.append((rows, self._stride(columns)))
        return passes

    def _stride(self, columns: int) -> int:
        return 1 + (columns * self.bits_per_pixel + 7) // 8


def _inflated(stream: bytes, size: int) -> tuple[bytes, bool]:
    """Return at most `size` bytes of the inflated stream, and whether the stream contains nothing else."""
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(stream, size + 1)
        return raw[:size], len(raw) == size and inflate.eof and not inflate.unused_data
    except zlib.error:
        return _inflated_in_pieces(stream, size), False


def _inflated_in_pieces(stream: bytes, size: int) -> bytes:
    """Inflate up to the first error. Read the piece with the error byte by byte, to keep all bytes before it."""
    inflate = zlib.decompressobj()
    raw = bytearray()
    for at in range(0, len(stream), _PIECE_BYTES):
        piece = stream[at : at + _PIECE_BYTES]
        before = inflate.copy()
        try:
            raw += _all_of(inflate, piece, size - len(raw))
        except zlib.error:
            with suppress(zlib.error):
                for index in range(len(piece)):
                    raw += _all_of(before, piece[index : index + 1], size - len(raw))
            break
        if len(raw) >= size:
            break
    return bytes(raw)


def _all_of(inflate: "zlib._Decompress", piece: bytes, most: int) -> bytes:
    raw = bytearray()
    while piece and len(raw) < most:
        raw += inflate.decompress(piece, most - len(raw))
        piece = inflate.unconsumed_tail
    return bytes(raw)


def _readable_bytes(raw: bytes, passes: list[tuple[int, int]]) -> int:
    """Return where the first row with an unknown filter starts, or the length of `raw`."""
    start = 0
    for rows, stride in passes:
        filters = raw[start : start + rows * stride : stride]
        if filters and max(filters) > _LAST_FILTER:
            return start + next(row for row, kind in enumerate(filters) if kind > _LAST_FILTER) * stride
        start += rows * stride
    return len(raw)


def _first(parts: Parts, canvas: tuple[int, int]) -> Image.Image:
    """Decode the first frame that a browser shows: the animation's first one, or the default picture."""
    frame = parts.frames[0] if parts.frames else None
    if frame is None or not frame.data:
        return _with_transparency(Parts(parts.header, parts.appearance, parts.pixels))
    width, height, left, top = frame.box
    header = width.to_bytes(4) + height.to_bytes(4) + parts.header[8:]
    image = _with_transparency(Parts(header, parts.appearance, bytes(frame.data)))
    if image.size == canvas:
        return image
    whole = Image.new("RGBA", canvas)
    whole.info = dict(image.info)
    whole.paste(image.convert("RGBA"), (left, top))
    return whole


def _with_transparency(parts: Parts) -> Image.Image:
    """Decode a still PNG. A transparent colour becomes an alpha channel, because Pillow compares the wrong depth."""
    with Image.open(BytesIO(parts.encoded()), formats=["PNG"]) as image:
        image.load()
    chosen = dict(png.chunks_of(parts.appearance)).get(b"tRNS", b"")
    depth, color_type = parts.header[8:10]
    if color_type == _GREY and len(chosen) >= 2:
        return _grey_with_alpha(image, int.from_bytes(chosen[:2]), depth)
    if color_type == _RGB and len(chosen) >= 6:
        samples = (int.from_bytes(chosen[at : at + 2]) for at in (0, 2, 4))
        image.info["transparency"] = tuple(sample >> (depth - 8) for sample in samples)
        return image.convert("RGBA")
    return image


def _grey_with_alpha(image: Image.Image, chosen: int, depth: int) -> Image.Image:
    if depth == 16:
        low, grey = Image.frombytes("LA", image.size, image.tobytes("raw", "I;16")).split()
        alpha = ImageChops.lighter(low.point(_unlike(chosen & 255)), grey.point(_unlike(chosen >> 8)))
    else:
        grey = image.convert("L")
        alpha = grey.point(_unlike(chosen * 255 // (2**depth - 1)))
    with_alpha = Image.merge("LA", (grey, alpha))
    with_alpha.info = {name: value for name, value in image.info.items() if name != "transparency"}
    return with_alpha


def _unlike(value: int) -> list[int]:
    return [0 if sample == value else 255 for sample in range(256)]
