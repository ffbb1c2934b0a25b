"""GIF87a and GIF89a (GIF89a specification, sections 17–27)."""

from gifchat_rooms_api.domain.gif_containers.reading import BrokenError, Cursor, PixelBudget, Walked

SIGNATURES = (b"GIF87a", b"GIF89a")

_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_GRAPHIC_CONTROL, _APPLICATION = 0xF9, 0xFF
_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
_HAS_COLOR_TABLE = 0x80


def walk(data: bytes) -> Walked:
    """Measure a GIF and drop comments, plain texts, unknown extensions, and any bytes after the trailer.

    The canvas grows to hold every frame, as it does in decoders. A file without a trailer is refused as truncated.
    """
    cursor = Cursor(data)
    clean = bytearray(cursor.take(6))
    screen = cursor.take(7)
    clean += screen
    clean += cursor.take(_color_table_bytes(screen[4]))
    budget: PixelBudget | None = None
    screen_width, screen_height = _sides(screen)
    graphic_control = b""
    while (introducer := cursor.byte()) != _TRAILER:
        if introducer == _IMAGE:
            descriptor = cursor.take(9)
            left, top = _sides(descriptor)
            width, height = _sides(descriptor[4:])
            if width == 0 or height == 0:
                raise BrokenError("a frame has no area")
            right, bottom = max(left + width, screen_width), max(top + height, screen_height)
            if budget is None:
                budget = PixelBudget(right, bottom)
            budget.grow(right, bottom)
            budget.add_frame()
            start = cursor.position
            cursor.skip(_color_table_bytes(descriptor[8]) + 1)
            _skip_sub_blocks(cursor)
            clean += graphic_control + bytes((_IMAGE,)) + descriptor + data[start : cursor.position]
            graphic_control = b""
        elif introducer == _EXTENSION:
            label = cursor.byte()
            start = cursor.position
            _skip_sub_blocks(cursor)
            content = data[start : cursor.position]
            if label == _GRAPHIC_CONTROL:
                if len(content) != 6 or content[0] != 4:
                    raise BrokenError("a graphic control extension must have 4 bytes")
                graphic_control = bytes((_EXTENSION, _GRAPHIC_CONTROL)) + content
            elif label == _APPLICATION:
                clean += _loop_extension(content)
        else:
            raise BrokenError(f"no block starts with {introducer:#04x}")
    if budget is None:
        raise BrokenError("the file has no frame")
    clean.append(_TRAILER)
    return Walked(budget.width, budget.height, budget.frames, orientation=1, clean=bytes(clean))


def _sides(data: bytes) -> tuple[int, int]:
    return int.from_bytes(data[:2], "little"), int.from_bytes(data[2:4], "little")


def _color_table_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & _HAS_COLOR_TABLE else 0


def _skip_sub_blocks(cursor: Cursor) -> None:
    data, position, end = cursor.data, cursor.position, cursor.end
    while position < end and (length := data[position]):
        position += length + 1
    if position >= end:
        raise BrokenError("the file ends within sub-blocks")
    cursor.position = position + 1


def _loop_extension(content: bytes) -> bytes:
    """Rebuild the application extension if it is the loop count; otherwise return nothing."""
    name = content[1:12]
    if content[:1] != b"\x0b" or name not in _LOOPS or content[12:14] != b"\x03\x01" or len(content) < 17:
        return b""
    return bytes((_EXTENSION, _APPLICATION, 11)) + name + content[12:16] + b"\x00"
