"""PNG and APNG (W3C PNG, third edition)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from zlib import crc32

from gifchat_rooms_api.domain.gif_containers.exif import orientation_of
from gifchat_rooms_api.domain.gif_containers.reading import BrokenError, Cursor, PixelBudget, Walked

SIGNATURE = b"\x89PNG\r\n\x1a\n"

COLOR_CHUNKS = frozenset((b"gAMA", b"cHRM", b"sRGB", b"cICP"))
"""Chunks that define the colours of samples, except the profile. They are valid for all kinds of samples."""

_APPEARANCE = COLOR_CHUNKS | {b"PLTE", b"tRNS", b"iCCP", b"mDCV", b"cLLI", b"sBIT", b"bKGD", b"pHYs"}
_ANIMATION = frozenset((b"acTL", b"fcTL", b"fdAT"))
_CRITICAL = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND"))
_REPAIRABLE = frozenset((b"IDAT", b"fdAT", b"IEND"))
"""Chunks that are used in spite of a wrong checksum. Other ancillary chunks are then dropped."""
_LOWER_CASE = 0x20
_INDEXED = 3


def walk(data: bytes, *, mend: bool = False) -> Walked:
    """Measure a PNG and drop texts, EXIF, times, unknown ancillary chunks, and any bytes after `IEND`.

    `mend` also accepts wrong checksums (except of `IHDR` and `PLTE`), a missing end, and anything unknown after the
    first pixels. It keeps the frames so far of a truncated animation, and a still picture of a broken one.
    """
    cursor = Cursor(data, len(SIGNATURE))
    name, header = _chunk(cursor, mend=False)
    if name != b"IHDR" or len(header) != 13:
        raise BrokenError("the first chunk must be IHDR")
    budget = PixelBudget(int.from_bytes(header[:4]), int.from_bytes(header[4:8]))
    picture = _Picture(_Animation(budget, mend), mend, lacks_palette=header[9] == _INDEXED)
    try:
        _read_chunks(cursor, picture)
    except BrokenError:
        if not mend or not picture.animation.pixels_begun or picture.has_two_headers or cursor.is_exhausted:
            raise
    if not picture.animation.pixels_begun:
        raise BrokenError("the file has no pixels")
    frames = picture.animation.finish()
    if mend:
        clean = picture.animation.parts(header, bytes(picture.clean)).encoded()
    else:
        clean = SIGNATURE + chunk(b"IHDR", header) + bytes(picture.clean)
    return Walked(budget.width, budget.height, frames, budget.pixels, clean, picture.orientation)


@dataclass(slots=True)
class _Picture:
    """What has been read so far, without the header."""

    animation: "_Animation"
    mend: bool
    clean: bytearray = field(default_factory=bytearray)
    """The chunks that are needed. With `mend`, only those that say how to show the pixels."""
    orientation: int = 1
    has_two_headers: bool = False
    lacks_palette: bool = False
    """Whether `PLTE` must still come. Browsers ignore a `tRNS` before it."""

    def add(self, name: bytes, content: bytes, previous: bytes) -> None:
        animation = self.animation
        is_needed = name in _APPEARANCE or (name in _CRITICAL | _ANIMATION and not self.mend)
        if name == b"IDAT":
            if animation.pixels_begun and previous != b"IDAT" and not self.mend:
                raise BrokenError("a second IDAT")
            animation.pixels_begun = True
            if self.mend:
                animation.pixels += content
        elif name in _ANIMATION:
            animation.add(name, content)
        elif name == b"eXIf":
            self.orientation = orientation_of(content)
        elif name == b"IHDR":
            self.has_two_headers = True
            raise BrokenError("a second IHDR")
        elif name == b"IEND" and content and not self.mend:
            raise BrokenError("IEND is not empty")
        elif not name[0] & _LOWER_CASE and name not in _CRITICAL:
            raise BrokenError(f"unknown critical chunk {name!r}")
        elif (self.mend and animation.pixels_begun) or (name == b"tRNS" and self.lacks_palette):
            is_needed = False
        self.lacks_palette &= name != b"PLTE"
        if is_needed:
            self.clean += chunk(name, content)


def _read_chunks(cursor: Cursor, picture: _Picture) -> None:
    previous = b"IHDR"
    while previous != b"IEND":
        name, content = _chunk(cursor, mend=picture.mend)
        picture.add(name, content, previous)
        previous = name


def chunk(name: bytes, content: bytes) -> bytes:
    """Build a chunk."""
    return len(content).to_bytes(4) + name + content + crc32(content, crc32(name)).to_bytes(4)


def chunks_of(chunks: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the names and contents of intact chunks."""
    cursor = Cursor(chunks)
    while not cursor.at_end:
        yield _chunk(cursor, mend=False)


def _chunk(cursor: Cursor, *, mend: bool) -> tuple[bytes, bytes]:
    """Return the next chunk's name and content.

    With `mend`, the first pixels may end with the file, and damaged ancillary chunks have the name `skip`.
    """
    length = int.from_bytes(cursor.take(4))
    name = cursor.take(4)
    if not (name.isalpha() and name.isascii()):
        if not mend or not name[0] & _LOWER_CASE:
            raise BrokenError(f"{name!r} is not a chunk name")
        cursor.skip(length + 4)
        return b"skip", b""
    if mend and name in _REPAIRABLE:
        content = cursor.take(length) if name == b"fdAT" else cursor.up_to(length)
        cursor.up_to(4)
        return name, content
    content = cursor.take(length)
    if int.from_bytes(cursor.take(4)) == crc32(content, crc32(name)):
        return name, content
    if mend and name[0] & _LOWER_CASE:
        return b"skip", b""
    raise BrokenError(f"the checksum of {name.decode()} is wrong")


@dataclass(slots=True)
class Frame:
    """A frame of an APNG."""

    control: bytes
    """Size, place, delay and operations: the frame's `fcTL` without its sequence number."""
    data: bytearray = field(default_factory=bytearray)
    """The compressed pixels. Empty if they are the default picture's."""

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Width, height, left, top."""
        width, height, left, top = (int.from_bytes(self.control[at : at + 4]) for at in (0, 4, 8, 12))
        return width, height, left, top


@dataclass(slots=True)
class Parts:
    """A PNG, taken apart."""

    header: bytes
    appearance: bytes
    """All chunks that say how to show the pixels."""
    pixels: bytes
    """The compressed pixels of the default picture."""
    plays: bytes = b""
    """How often the animation plays, as in `acTL`."""
    frames: list[Frame] = field(default_factory=list)
    """Empty for a still picture."""

    def encoded(self) -> bytes:
        """Return the whole file."""
        out = bytearray(SIGNATURE + chunk(b"IHDR", self.header) + self.appearance)
        numbers = count()

        def numbered(name: bytes, content: bytes) -> bytes:
            return chunk(name, next(numbers).to_bytes(4) + content)

        frames = list(self.frames)
        if frames:
            out += chunk(b"acTL", len(frames).to_bytes(4) + self.plays)
            if not frames[0].data:
                out += numbered(b"fcTL", frames.pop(0).control)
        out += chunk(b"IDAT", self.pixels)
        for frame in frames:
            out += numbered(b"fcTL", frame.control) + numbered(b"fdAT", bytes(frame.data))
        return bytes(out) + chunk(b"IEND", b"")


def parts_of(clean: bytes) -> Parts:
    """Take a walked PNG apart."""
    cursor = Cursor(clean, len(SIGNATURE))
    _, header = _chunk(cursor, mend=False)
    appearance, pixels = bytearray(), bytearray()
    plays = b""
    frames: list[Frame] = []
    while not cursor.at_end:
        name, content = _chunk(cursor, mend=False)
        match name:
            case b"IDAT":
                pixels += content
            case b"acTL":
                plays = content[4:]
            case b"fcTL":
                frames.append(Frame(content[4:]))
            case b"fdAT":
                frames[-1].data += content[4:]
            case b"IEND":
                break
            case _:
                appearance += chunk(name, content)
    return Parts(header, bytes(appearance), bytes(pixels), plays, frames)


@dataclass(slots=True)
class _Animation:
    """The state of an APNG's animation chunks. A PNG without them is a single picture."""

    budget: PixelBudget
    mend: bool
    declared: int | None = None
    plays: bytes = b""
    frames: int = 0
    sequence: int = 0
    first_is_default: bool = False
    frame_has_data: bool = True
    pixels_begun: bool = False
    pixels: bytearray = field(default_factory=bytearray)
    mended: list[Frame] = field(default_factory=list)
    is_still: bool = False
    """Whether an error was found, so that only the still picture is used."""

    def add(self, name: bytes, content: bytes) -> None:
        if not self.mend:
            self._add(name, content)
        elif not self.is_still and (self.declared is not None or name == b"acTL"):
            try:
                self._add(name, content)
            except BrokenError:
                if not self.pixels_begun and name == b"fcTL":
                    raise
                self.is_still = True

    def _add(self, name: bytes, content: bytes) -> None:
        if name == b"acTL":
            if self.declared is not None or self.pixels_begun or len(content) != 8:
                raise BrokenError("a misplaced acTL")
            self.declared = int.from_bytes(content[:4])
            self.plays = content[4:]
            return
        if self.declared is None or int.from_bytes(content[:4]) != self.sequence:
            raise BrokenError(f"{name.decode()} out of sequence")
        self.sequence += 1
        if name == b"fdAT":
            if not (self.pixels_begun and self.frames) or len(content) < 4:
                raise BrokenError("a misplaced fdAT")
            self.frame_has_data = True
            if self.mend:
                self.mended[-1].data += content[4:]
            return
        if len(content) != 26 or not self.frame_has_data:
            raise BrokenError("a misplaced fcTL")
        width, height, left, top = (int.from_bytes(content[at : at + 4]) for at in (4, 8, 12, 16))
        self.budget.require(width, height, left, top)
        if not self.pixels_begun and (width, height) != (self.budget.width, self.budget.height):
            raise BrokenError("the first frame is not as large as the canvas")
        self.budget.add_frame()
        self.frames += 1
        self.frame_has_data = not self.pixels_begun
        self.first_is_default |= not self.pixels_begun
        if self.mend:
            self.mended.append(Frame(content[4:]))

    def finish(self) -> int:
        """Return how many frames a browser shows. Count the default picture if it is not one of them."""
        if self.mend:
            self._drop_what_is_not_shown()
        elif self.declared is not None and (
            self.declared != self.frames or self.frames == 0 or not self.frame_has_data
        ):
            raise BrokenError(f"{self.declared} frames declared, {self.frames} found")
        if not self.first_is_default:
            self.budget.add_frame()
        return max(1, self.frames)

    def _drop_what_is_not_shown(self) -> None:
        if self.declared is not None:
            del self.mended[self.declared :]
        if len(self.mended) > 1 and not self.mended[-1].data:
            self.mended.pop()
        if self.is_still or not self.declared or (len(self.mended) == 1 and self.first_is_default):
            self.mended.clear()
        if not self.first_is_default and any(not frame.data for frame in self.mended):
            self.mended.clear()
        self.frames = len(self.mended)

    def parts(self, header: bytes, appearance: bytes) -> Parts:
        """Return the mended picture."""
        return Parts(header, appearance, bytes(self.pixels), self.plays, self.mended)
