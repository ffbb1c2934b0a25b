"""JPEG: baseline, extended and progressive, the processes that browsers show (ITU-T T.81, annex B)."""

import re
from dataclasses import dataclass, field

from gifchat_rooms_api.domain.gif_containers.exif import orientation_of
from gifchat_rooms_api.domain.gif_containers.reading import (
    BrokenError,
    Cursor,
    EndError,
    PixelBudget,
    TooManyPixelsError,
    Walked,
)

SIGNATURE = b"\xff\xd8\xff"

MAX_SCANS = 100
"""Every scan of a progressive picture costs work on all pixels. Encoders write about ten."""

_SCANS_PER_DECODING = 20
"""This many scans take about as long as decoding a baseline picture of this size; measured on flat pictures."""

_START_OF_IMAGE = b"\xff\xd8"
_END_OF_IMAGE = 0xD9
_START_OF_SCAN = 0xDA
_FRAMES = frozenset((0xC0, 0xC1, 0xC2))
_ARITHMETIC_FRAMES = frozenset((0xC9, 0xCA))
_TABLES = frozenset((0xC4, 0xDB, 0xDD))
_ARITHMETIC_TABLES = 0xCC
_NUMBER_OF_LINES = 0xDC
_WITHOUT_CONTENT = frozenset((0x01, *range(0xD0, 0xD8)))
_APPLICATION = range(0xE0, 0xF0)
_COMMENT = 0xFE
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_MARKER = re.compile(rb"\xff[^\x00\xff]")


@dataclass(slots=True)
class _Jpeg:
    """What has been read so far."""

    mend: bool
    clean: bytearray = field(default_factory=lambda: bytearray(_START_OF_IMAGE))
    budget: PixelBudget | None = None
    orientation: int = 1
    scans: int = 0
    encode_again: bool = False

    def add_segment(self, marker: int, content: bytes) -> None:
        """Copy a segment if a decoder needs it."""
        if marker in _APPLICATION:
            self.clean += _kept_application(marker, content)
            if marker == 0xE1 and content.startswith(b"Exif\x00\x00"):
                self.orientation = orientation_of(content[6:])
        elif marker in _FRAMES or (self.mend and marker in _ARITHMETIC_FRAMES):
            if self.budget is not None or len(content) < 6:
                raise BrokenError("a second frame, or a frame without its size")
            self.budget = PixelBudget(int.from_bytes(content[3:5]), int.from_bytes(content[1:3]))
            self.budget.add_frame()
            self.encode_again |= marker in _ARITHMETIC_FRAMES
            self.clean += _segment(marker, content)
        elif marker in _TABLES or (self.mend and marker == _ARITHMETIC_TABLES):
            self.clean += _segment(marker, content)
        elif marker == _START_OF_SCAN:
            if self.budget is None:
                raise BrokenError("a scan comes before its frame")
            self.scans += 1
            if self.scans > MAX_SCANS:
                raise TooManyPixelsError(f"more than {MAX_SCANS} scans")
            self.clean += _segment(marker, content)
        elif marker != _COMMENT and not (self.mend and marker == _NUMBER_OF_LINES):
            raise BrokenError(f"marker {marker:#04x} is not expected here")


def walk(data: bytes, *, mend: bool = False) -> Walked:
    """Measure a JPEG and drop EXIF, XMP, comments, thumbnails, and any bytes after the end of the image.

    A coding that browsers do not show (lossless, hierarchical) counts as broken. More than `MAX_SCANS` scans count as
    too many pixels. `mend` also accepts bytes between segments, anything unknown after the first scan, a missing end
    (pixels may be missing, too), and arithmetic coding, which not every browser reads.
    """
    cursor = Cursor(data, len(_START_OF_IMAGE))
    jpeg = _Jpeg(mend)
    try:
        _read_segments(cursor, jpeg)
    except BrokenError:
        if not mend or jpeg.scans == 0 or cursor.is_exhausted:
            raise
        jpeg.encode_again = True
    if jpeg.budget is None or jpeg.scans == 0:
        raise BrokenError("the file has no picture")
    jpeg.clean += bytes((0xFF, _END_OF_IMAGE))
    budget = jpeg.budget
    clean = bytes(jpeg.clean)
    pixels = budget.pixels * (1 + jpeg.scans // _SCANS_PER_DECODING)
    return Walked(budget.width, budget.height, budget.frames, pixels, clean, jpeg.orientation, jpeg.encode_again)


def _read_segments(cursor: Cursor, jpeg: _Jpeg) -> None:
    while (marker := _marker(cursor, mend=jpeg.mend)) != _END_OF_IMAGE:
        if jpeg.mend and marker in _WITHOUT_CONTENT:
            continue
        length = int.from_bytes(cursor.take(2))
        if length < 2 and not jpeg.mend:
            raise BrokenError("a segment is shorter than its length field")
        jpeg.add_segment(marker, cursor.take(max(0, length - 2)))
        if marker == _START_OF_SCAN:
            jpeg.clean += _entropy_coded(cursor, cut=jpeg.mend)


def _marker(cursor: Cursor, *, mend: bool) -> int:
    if mend:
        found = _MARKER.search(cursor.data, cursor.position)
        if found is None:
            raise EndError("no marker follows")
        cursor.skip(found.end() - cursor.position)
        return cursor.data[found.end() - 1]
    if cursor.byte() != 0xFF:
        raise BrokenError(f"no marker at {cursor.position - 1}")
    marker = cursor.byte()
    while marker == 0xFF:
        marker = cursor.byte()
    return marker


def _entropy_coded(cursor: Cursor, *, cut: bool) -> bytes:
    """Read the pixels of a scan. With `cut`, they may end with the file."""
    start = cursor.position
    found = _END_OF_SCAN.search(cursor.data, start)
    if found is None and not cut:
        raise EndError("the file ends within a scan")
    cursor.position = found.start() if found else cursor.end
    return cursor.data[start : cursor.position]


def _segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2) + content


def _kept_application(marker: int, content: bytes) -> bytes:
    """Return what decoders need: JFIF without its thumbnail, the colour profile, or Adobe's transform."""
    match marker:
        case 0xE0 if content.startswith(b"JFIF\x00") and len(content) >= 14:
            return _segment(marker, content[:12] + b"\x00\x00")
        case 0xE2 if content.startswith(b"ICC_PROFILE\x00"):
            return _segment(marker, content)
        case 0xEE if content.startswith(b"Adobe") and len(content) >= 12:
            return _segment(marker, content[:12])
        case _:
            return b""
