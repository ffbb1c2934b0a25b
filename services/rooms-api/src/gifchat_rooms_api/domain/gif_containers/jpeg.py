"""JPEG: baseline, extended and progressive, the processes that browsers show (ITU-T T.81, annex B)."""

import re

from gifchat_rooms_api.domain.gif_containers.exif import orientation_of
from gifchat_rooms_api.domain.gif_containers.reading import BrokenError, Cursor, PixelBudget, TooManyPixelsError, Walked

SIGNATURE = b"\xff\xd8\xff"

MAX_SCANS = 100
"""Every scan of a progressive picture costs work on all pixels. Encoders write about ten."""

_START_OF_IMAGE = b"\xff\xd8"
_END_OF_IMAGE = 0xD9
_START_OF_SCAN = 0xDA
_FRAMES = frozenset((0xC0, 0xC1, 0xC2))
_TABLES = frozenset((0xC4, 0xDB, 0xDD))
_APPLICATION = range(0xE0, 0xF0)
_COMMENT = 0xFE
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def walk(data: bytes) -> Walked:
    """Measure a JPEG and drop EXIF, XMP, comments, thumbnails, and any bytes after the end of the image.

    A process that browsers do not show (lossless, arithmetic, hierarchical) counts as broken.
    More than `MAX_SCANS` scans count as too many pixels.
    """
    cursor = Cursor(data, len(_START_OF_IMAGE))
    clean = bytearray(_START_OF_IMAGE)
    budget: PixelBudget | None = None
    orientation = 1
    scans = 0
    while (marker := _marker(cursor)) != _END_OF_IMAGE:
        length = int.from_bytes(cursor.take(2))
        if length < 2:
            raise BrokenError("a segment is shorter than its length field")
        content = cursor.take(length - 2)
        if marker in _APPLICATION:
            clean += _kept_application(marker, content)
            if marker == 0xE1 and content.startswith(b"Exif\x00\x00"):
                orientation = orientation_of(content[6:])
        elif marker in _FRAMES:
            if budget is not None or len(content) < 6:
                raise BrokenError("a second frame, or a frame without its size")
            budget = PixelBudget(int.from_bytes(content[3:5]), int.from_bytes(content[1:3]))
            budget.add_frame()
            clean += _segment(marker, content)
        elif marker in _TABLES:
            clean += _segment(marker, content)
        elif marker == _START_OF_SCAN:
            if budget is None:
                raise BrokenError("a scan comes before its frame")
            scans += 1
            if scans > MAX_SCANS:
                raise TooManyPixelsError(f"more than {MAX_SCANS} scans")
            clean += _segment(marker, content)
            start = cursor.position
            _skip_entropy_coded(cursor)
            clean += data[start : cursor.position]
        elif marker != _COMMENT:
            raise BrokenError(f"marker {marker:#04x} is not expected here")
    if budget is None or scans == 0:
        raise BrokenError("the file has no picture")
    clean += bytes((0xFF, _END_OF_IMAGE))
    return Walked(budget.width, budget.height, budget.frames, orientation, bytes(clean))


def _marker(cursor: Cursor) -> int:
    if cursor.byte() != 0xFF:
        raise BrokenError(f"no marker at {cursor.position - 1}")
    marker = cursor.byte()
    while marker == 0xFF:
        marker = cursor.byte()
    return marker


def _skip_entropy_coded(cursor: Cursor) -> None:
    found = _END_OF_SCAN.search(cursor.data, cursor.position)
    if found is None:
        raise BrokenError("the file ends within a scan")
    cursor.position = found.start()


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
