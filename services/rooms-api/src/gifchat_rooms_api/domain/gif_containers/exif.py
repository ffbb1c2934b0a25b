"""The orientation in EXIF data: the only field that changes what a person sees."""

import struct

_ORIENTATION = 0x0112
_SHORT = 3
_MAX_ENTRIES = 1_000


def orientation_of(tiff: bytes) -> int:
    """Return the orientation (1–8) in EXIF data (a TIFF header and its first directory), or 1 if it is unreadable.

    Unreadable EXIF data is not an error, because viewers show such pictures too.
    """
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, directory)
        for index in range(min(entries, _MAX_ENTRIES)):
            tag, kind, count, value = struct.unpack_from(f"{order}HHIH", tiff, directory + 2 + index * 12)
            if tag == _ORIENTATION:
                return int(value) if kind == _SHORT and count == 1 and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
