"""GIF87a and GIF89a (GIF89a specification, sections 17–27)."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from gifchat_rooms_api.domain.gif_containers.reading import BrokenError, Cursor, EndError, PixelBudget, Walked

SIGNATURES = (b"GIF87a", b"GIF89a")

IMAGE, TRAILER = 0x2C, 0x3B
_EXTENSION = 0x21
_GRAPHIC_CONTROL, _APPLICATION = 0xF9, 0xFF
_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
_HAS_COLOR_TABLE = 0x80
_KEEP, _IS_TRANSPARENT = 1 << 2, 1
_DELAY = slice(4, 6)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, as its blocks describe it."""

    control: bytes
    """The graphic control extension, or nothing."""
    left: int
    top: int
    width: int
    height: int
    interlaced: bool
    color_table: bytes
    """The frame's own colours, or nothing."""
    code: bytes
    """The size of the first code, and the sub-blocks of pixels with their terminator."""

    @property
    def right(self) -> int:
        """The first column to the right of the frame."""
        return self.left + self.width

    @property
    def bottom(self) -> int:
        """The first row below the frame."""
        return self.top + self.height

    @property
    def is_empty(self) -> bool:
        """Whether the frame has no area."""
        return self.width == 0 or self.height == 0

    @property
    def transparent(self) -> int | None:
        """The index of the transparent colour."""
        return self.control[6] if self.control and self.control[3] & _IS_TRANSPARENT else None

    def encoded(self) -> bytes:
        """Return the frame's blocks."""
        sides = (self.left, self.top, self.width, self.height)
        flags = 0x40 if self.interlaced else 0
        if self.color_table:
            flags |= _HAS_COLOR_TABLE | (len(self.color_table) // 3).bit_length() - 2
        descriptor = b"".join(side.to_bytes(2, "little") for side in sides) + bytes((flags,))
        return self.control + bytes((IMAGE,)) + descriptor + self.color_table + self.code


def control(disposal_bits: int, delay: bytes, transparent: int | None) -> bytes:
    """Build a graphic control extension. `disposal_bits` are its flags without the one for transparency."""
    flags = disposal_bits & ~_IS_TRANSPARENT | (transparent is not None)
    content = bytes((flags,)) + delay + bytes((transparent or 0,))
    return bytes((_EXTENSION, _GRAPHIC_CONTROL, 4)) + content + b"\x00"


def control_parts(extension: bytes) -> tuple[int, bytes]:
    """Return the flags and the delay of a graphic control extension, or those of a frame without one."""
    return (extension[3], extension[_DELAY]) if extension else (0, b"\x00\x00")


@dataclass(slots=True)
class _Gif:
    """What has been read so far."""

    signature: bytes
    screen: bytes
    color_table: bytes
    mend: bool
    budget: PixelBudget | None = None
    blocks: bytearray = field(default_factory=bytearray)
    control: bytes = b""
    has_pixels: bool = False

    def add_frame(self, frame: Frame) -> None:
        """Add a frame. The first one enlarges the canvas, as it does in browsers; they crop the others."""
        if self.budget is None:
            width, height = _sides(self.screen)
            self.budget = PixelBudget(max(frame.right, width), max(frame.bottom, height))
        self.has_pixels |= not frame.is_empty
        canvas = self.budget
        if frame.is_empty or frame.left >= canvas.width or frame.top >= canvas.height:
            if not self.mend:
                raise BrokenError("a frame shows nothing")
            frame = _invisible(frame)
        elif (frame.right > canvas.width or frame.bottom > canvas.height) and not self.mend:
            raise BrokenError("a frame sticks out of the screen")
        canvas.add_frame(frame.width, frame.height)
        self.blocks += frame.encoded()
        self.control = b""

    def encoded(self) -> bytes:
        """Return the whole file."""
        if self.budget is None:
            raise BrokenError("the file has no frame")
        sides = self.budget.width.to_bytes(2, "little") + self.budget.height.to_bytes(2, "little")
        head = self.signature + sides + self.screen[4:] + self.color_table
        return head + bytes(self.blocks) + bytes((TRAILER,))


def walk(data: bytes, *, mend: bool = False) -> Walked:
    """Measure a GIF and drop comments, plain texts, unknown extensions, and any bytes after the trailer.

    `mend` also accepts a missing trailer, NULs between blocks, anything unknown after the first frame, and frames
    without pixels or outside the screen. If the file ends within the last of several frames, that frame is dropped.
    """
    cursor = Cursor(data, 6)
    screen = cursor.take(7)
    gif = _Gif(data[:6], screen, cursor.take(_color_table_bytes(screen[4])), mend)
    try:
        _read_blocks(cursor, gif)
    except BrokenError:
        if not mend or gif.budget is None or cursor.is_exhausted:
            raise
    clean = gif.encoded()
    if gif.budget is None or not gif.has_pixels:
        raise BrokenError("no frame has an area")
    return Walked(gif.budget.width, gif.budget.height, gif.budget.frames, gif.budget.pixels, clean)


def _read_blocks(cursor: Cursor, gif: _Gif) -> None:
    while (introducer := cursor.byte()) != TRAILER:
        if introducer == IMAGE:
            gif.add_frame(_frame(cursor, gif.control, cut=gif.mend and gif.budget is None))
        elif introducer == _EXTENSION:
            _extension(cursor, gif)
        elif introducer or not gif.mend or gif.budget is None:
            raise BrokenError(f"no block starts with {introducer:#04x}")


def frames_of(clean: bytes) -> tuple[bytes, Iterator[Frame | bytes]]:
    """Split a walked GIF into its head with the global colours, and its frames and loop extensions in order."""
    cursor = Cursor(clean, 13)
    head = clean[: 13 + len(cursor.take(_color_table_bytes(clean[10])))]

    def parts() -> Iterator[Frame | bytes]:
        extension = b""
        while (introducer := cursor.byte()) != TRAILER:
            if introducer == IMAGE:
                yield _frame(cursor, extension, cut=False)
                extension = b""
                continue
            start = cursor.position - 1
            label = cursor.byte()
            _skip_sub_blocks(cursor)
            block = clean[start : cursor.position]
            if label == _GRAPHIC_CONTROL:
                extension = block
            else:
                yield block

    return head, parts()


def _frame(cursor: Cursor, extension: bytes, *, cut: bool) -> Frame:
    """Read the frame after its introducer. With `cut`, its pixels may end with the file."""
    descriptor = cursor.take(9)
    left, top = _sides(descriptor)
    width, height = _sides(descriptor[4:])
    color_table = cursor.take(_color_table_bytes(descriptor[8]))
    start = cursor.position
    cursor.skip(1)
    try:
        _skip_sub_blocks(cursor)
        code = cursor.data[start : cursor.position]
    except EndError:
        if not cut:
            raise
        code = _complete_sub_blocks(cursor.data[start : cursor.end])
        cursor.position = cursor.end
    return Frame(extension, left, top, width, height, bool(descriptor[8] & 0x40), color_table, code)


def _extension(cursor: Cursor, gif: _Gif) -> None:
    label = cursor.byte()
    start = cursor.position
    _skip_sub_blocks(cursor)
    content = cursor.data[start : cursor.position]
    if label == _GRAPHIC_CONTROL:
        if len(content) != 6 or content[0] != 4:
            raise BrokenError("a graphic control extension must have 4 bytes")
        gif.control = bytes((_EXTENSION, _GRAPHIC_CONTROL)) + content
    elif label == _APPLICATION:
        gif.blocks += _loop_extension(content)


def _invisible(frame: Frame) -> Frame:
    """Return a frame that takes as long as `frame` and changes no pixel."""
    _, delay = control_parts(frame.control)
    return Frame(control(_KEEP, delay, 0), 0, 0, 1, 1, False, bytes(6), b"\x02\x02\x44\x01\x00")


def _sides(data: bytes) -> tuple[int, int]:
    return int.from_bytes(data[:2], "little"), int.from_bytes(data[2:4], "little")


def _color_table_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & _HAS_COLOR_TABLE else 0


def _skip_sub_blocks(cursor: Cursor) -> None:
    data, position, end = cursor.data, cursor.position, cursor.end
    while position < end and (length := data[position]):
        position += length + 1
    if position >= end:
        raise EndError("the file ends within sub-blocks")
    cursor.position = position + 1


def _complete_sub_blocks(code: bytes) -> bytes:
    """Return truncated pixels with a correct last length and a terminator."""
    position, last = 1, 1
    while position < len(code):
        last = position
        position += code[position] + 1
    rest = code[last + 1 :]
    return code[:last] + (bytes((len(rest),)) + rest if rest else b"") + b"\x00"


def _loop_extension(content: bytes) -> bytes:
    """Rebuild the application extension if it is the loop count; otherwise return nothing."""
    name = content[1:12]
    if content[:1] != b"\x0b" or name not in _LOOPS or content[12:14] != b"\x03\x01" or len(content) < 17:
        return b""
    return bytes((_EXTENSION, _APPLICATION, 11)) + name + content[12:16] + b"\x00"
