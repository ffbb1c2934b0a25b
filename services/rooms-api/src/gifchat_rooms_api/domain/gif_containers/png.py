"""PNG and APNG (W3C PNG, third edition)."""

from dataclasses import dataclass
from zlib import crc32

from gifchat_rooms_api.domain.gif_containers.exif import orientation_of
from gifchat_rooms_api.domain.gif_containers.reading import BrokenError, Cursor, PixelBudget, Walked

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_APPEARANCE = frozenset(
    (b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI", b"sBIT", b"bKGD", b"pHYs")
)
_ANIMATION = frozenset((b"acTL", b"fcTL", b"fdAT"))
_CRITICAL = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND"))
_LOWER_CASE = 0x20


def walk(data: bytes) -> Walked:
    """Measure a PNG and drop texts, EXIF, times, unknown ancillary chunks, and any bytes after `IEND`."""
    cursor = Cursor(data, len(SIGNATURE))
    clean = bytearray(SIGNATURE)
    name, header = _chunk(cursor, clean, keep=True)
    if name != b"IHDR" or len(header) != 13:
        raise BrokenError("the first chunk must be IHDR")
    budget = PixelBudget(int.from_bytes(header[:4]), int.from_bytes(header[4:8]))
    animation = _Animation(budget)
    orientation = 1
    pixels_ended = False
    previous = name
    while previous != b"IEND":
        name, content = _chunk(cursor, clean, keep=False)
        pixels_ended = pixels_ended or (previous == b"IDAT" and name != b"IDAT")
        if name == b"IHDR" or (name == b"IDAT" and pixels_ended):
            raise BrokenError(f"a second {name.decode()}")
        if name == b"IDAT":
            animation.pixels_begun = True
        elif name == b"eXIf":
            orientation = orientation_of(content)
        elif name in _ANIMATION:
            animation.add(name, content)
        elif not name[0] & _LOWER_CASE and name not in _CRITICAL:
            raise BrokenError(f"unknown critical chunk {name!r}")
        previous = name
    if not animation.pixels_begun or content:
        raise BrokenError("the file has no pixels, or its IEND is not empty")
    return Walked(budget.width, budget.height, animation.pictures(), orientation, bytes(clean))


def _chunk(cursor: Cursor, clean: bytearray, *, keep: bool) -> tuple[bytes, bytes]:
    """Return the next chunk's name and content. Copy it to `clean` if it is needed to show the picture."""
    start = cursor.position
    length = int.from_bytes(cursor.take(4))
    name = cursor.take(4)
    if not (name.isalpha() and name.isascii()):
        raise BrokenError(f"{name!r} is not a chunk name")
    content = cursor.take(length)
    if int.from_bytes(cursor.take(4)) != crc32(content, crc32(name)):
        raise BrokenError(f"the checksum of {name.decode()} is wrong")
    if keep or name in _CRITICAL or name in _APPEARANCE or name in _ANIMATION:
        clean += cursor.data[start : cursor.position]
    return name, content


@dataclass(slots=True)
class _Animation:
    """The state of an APNG's animation chunks. A PNG without them is a single picture."""

    budget: PixelBudget
    declared: int | None = None
    frames: int = 0
    sequence: int = 0
    first_is_default: bool = False
    frame_has_data: bool = True
    pixels_begun: bool = False

    def add(self, name: bytes, content: bytes) -> None:
        if name == b"acTL":
            if self.declared is not None or self.pixels_begun or len(content) != 8:
                raise BrokenError("a misplaced acTL")
            self.declared = int.from_bytes(content[:4])
            return
        if self.declared is None or int.from_bytes(content[:4]) != self.sequence:
            raise BrokenError(f"{name.decode()} out of sequence")
        self.sequence += 1
        if name == b"fdAT":
            if not (self.pixels_begun and self.frames) or len(content) < 4:
                raise BrokenError("a misplaced fdAT")
            self.frame_has_data = True
            return
        if len(content) != 26 or not self.frame_has_data:
            raise BrokenError("a misplaced fcTL")
        width, height, left, top = (int.from_bytes(content[at : at + 4]) for at in (4, 8, 12, 16))
        self.budget.require(width, height, left, top)
        self.budget.add_frame()
        self.frames += 1
        self.frame_has_data = not self.pixels_begun
        self.first_is_default |= not self.pixels_begun

    def pictures(self) -> int:
        """Return how many pictures must be decoded: the frames, plus the default picture if it is not a frame."""
        if self.declared is None:
            self.budget.add_frame()
            return 1
        if self.declared != self.frames or self.frames == 0 or not self.frame_has_data:
            raise BrokenError(f"{self.declared} frames declared, {self.frames} found")
        if not self.first_is_default:
            self.budget.add_frame()
        return self.budget.frames
