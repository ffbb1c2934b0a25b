"""WebP: lossy, lossless and extended (RFC 9649)."""

from dataclasses import dataclass, field

from gifchat_contracts import limits
from gifchat_rooms_api.domain.gif_containers.exif import orientation_of
from gifchat_rooms_api.domain.gif_containers.reading import BrokenError, Cursor, EndError, PixelBudget, Walked

RIFF, WEBP = b"RIFF", b"WEBP"

_PIXELS = frozenset((b"VP8 ", b"VP8L"))
_ANIMATED, _XMP, _EXIF = 0x02, 0x04, 0x08
_LOSSY_START = b"\x9d\x01\x2a"
_LOSSLESS_START = 0x2F
_MAX_RIFF_SIZE = 0xFFFF_FFF6
"""The most that libwebp accepts, in the header or as the length of a chunk."""


def walk(data: bytes, *, mend: bool = False) -> Walked:
    """Measure a WebP and drop EXIF, XMP, unknown chunks, and any bytes after the RIFF container.

    `mend` also accepts a file that is shorter than its RIFF header says, and keeps its complete frames. If there is
    none, it keeps the pixels that are there, for the decoder.
    """
    header = Cursor(data, len(RIFF))
    size = int.from_bytes(header.take(4), "little")
    if size > _MAX_RIFF_SIZE:
        raise BrokenError(f"{size} bytes declared")
    is_cut = mend and header.position + size > len(data)
    cursor = Cursor(data, header.position, min(len(data), header.position + size) if is_cut else header.position + size)
    if cursor.end > len(data) or cursor.take(4) != WEBP:
        raise BrokenError(f"{size} bytes declared, {len(data) - 8} found")
    name, content = _chunk(cursor, is_cut=is_cut)
    picture = (
        _extended(cursor, content, is_cut=is_cut) if name == b"VP8X" else _simple(cursor, name, content, is_cut=is_cut)
    )
    budget = picture.budget
    body = WEBP + picture.clean
    clean = RIFF + len(body).to_bytes(4, "little") + body
    again = picture.lacks_pixels
    return Walked(budget.width, budget.height, budget.frames, budget.pixels, clean, picture.orientation, again)


@dataclass(slots=True)
class _Picture:
    budget: PixelBudget
    clean: bytearray = field(default_factory=bytearray)
    orientation: int = 1
    lacks_pixels: bool = False


def _simple(cursor: Cursor, name: bytes, content: bytes, *, is_cut: bool) -> _Picture:
    if name not in _PIXELS:
        raise BrokenError(f"a picture cannot start with {name!r}")
    picture = _Picture(PixelBudget(*_sides(name, content)))
    picture.budget.add_frame()
    picture.clean += _as_chunk(name, content)
    picture.lacks_pixels = cursor.ran_out
    while not is_cut and not cursor.at_end:
        _chunk(cursor, is_cut=False)  # Browsers refuse a file with a bad chunk, even if they do not need it.
    return picture


def _extended(cursor: Cursor, header: bytes, *, is_cut: bool) -> _Picture:
    if len(header) < 10:
        raise BrokenError("VP8X without its size")
    flags = header[0] & ~(_XMP | _EXIF)
    width, height = _u24(header, 4) + 1, _u24(header, 7) + 1
    picture = _Picture(PixelBudget(width, height))
    picture.clean += _as_chunk(b"VP8X", bytes((flags, 0, 0, 0)) + header[4:10])
    animated = bool(flags & _ANIMATED)
    while not cursor.at_end:
        try:
            name, content = _chunk(cursor, is_cut=is_cut)
        except EndError:
            if not is_cut:
                raise
            break
        match name:
            case b"ANMF" if animated:
                try:
                    _add_frame(picture, content, is_cut=is_cut and picture.budget.frames == 0)
                except BrokenError:
                    if not cursor.ran_out:
                        raise
            case b"VP8 " | b"VP8L" if not animated:
                if picture.budget.frames or _sides(name, content) != (width, height):
                    raise BrokenError("a second picture, or a picture that differs from its canvas in size")
                picture.budget.add_frame()
                picture.clean += _as_chunk(name, content)
                picture.lacks_pixels = cursor.ran_out
            case b"ALPH" if not animated:
                picture.clean += _as_chunk(name, content)
            case b"ICCP" | b"ANIM":
                picture.clean += _as_chunk(name, content)
            case b"EXIF":
                picture.orientation = orientation_of(content.removeprefix(b"Exif\x00\x00"))
            case b"ANMF" | b"VP8 " | b"VP8L" | b"VP8X":
                raise BrokenError(f"{name.decode()} is not expected here")
            case _:
                pass
    if picture.budget.frames == 0:
        raise BrokenError("the file has no picture")
    return picture


def _add_frame(picture: _Picture, content: bytes, *, is_cut: bool) -> None:
    cursor = Cursor(content)
    header = cursor.take(16)
    left, top = _u24(header, 0) * 2, _u24(header, 3) * 2
    width, height = _u24(header, 6) + 1, _u24(header, 9) + 1
    picture.budget.require(width, height, left, top)
    clean = bytearray(header)
    pictures = 0
    while not cursor.at_end:
        name, inner = _chunk(cursor, is_cut=is_cut)
        if name in _PIXELS:
            pictures += 1
            if _sides(name, inner) != (width, height):
                raise BrokenError("the pixels of a frame have a different size than declared")
        if name in _PIXELS or name == b"ALPH":
            clean += _as_chunk(name, inner)
    if pictures != 1:
        raise BrokenError(f"a frame has {pictures} pictures")
    picture.budget.add_frame()
    picture.lacks_pixels |= cursor.ran_out
    picture.clean += _as_chunk(b"ANMF", bytes(clean))


def _chunk(cursor: Cursor, *, is_cut: bool) -> tuple[bytes, bytes]:
    """Return the next chunk's name and content. With `is_cut`, the data may end within it; pixels are padded."""
    name = cursor.take(4)
    length = int.from_bytes(cursor.take(4), "little")
    if is_cut and length > cursor.end - cursor.position:
        content = cursor.up_to(length)
        return name, _padded(content, length) if name in _PIXELS else content
    content = cursor.take(length)
    if length % 2 and not cursor.at_end:
        cursor.skip(1)
    return name, content


def _padded(content: bytes, length: int) -> bytes:
    if length > limits.GIF_MAX_BYTES:
        raise BrokenError(f"a chunk of {length} bytes")
    return content.ljust(length, b"\x00")


def _as_chunk(name: bytes, content: bytes) -> bytes:
    return name + len(content).to_bytes(4, "little") + content + bytes(len(content) % 2)


def _sides(name: bytes, content: bytes) -> tuple[int, int]:
    """Return width and height from the header of the pixels' bit stream."""
    if name == b"VP8 ":
        if len(content) < 10 or content[3:6] != _LOSSY_START:
            raise BrokenError("VP8 without a key frame header")
        return int.from_bytes(content[6:8], "little") & 0x3FFF, int.from_bytes(content[8:10], "little") & 0x3FFF
    if len(content) < 5 or content[0] != _LOSSLESS_START:
        raise BrokenError("VP8L without its header")
    bits = int.from_bytes(content[1:5], "little")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _u24(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")
