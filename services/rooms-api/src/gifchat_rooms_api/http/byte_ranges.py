"""The request headers `Range` and `If-None-Match` (RFC 9110, sections 13 and 14)."""

import re

_UNIT = "bytes="
_ONE_RANGE = re.compile(rf"{_UNIT}[ \t]*(\d{{0,20}})-(\d{{0,20}})[ \t]*", re.ASCII | re.IGNORECASE)


class UnsatisfiableRangeError(ValueError):
    """The range is malformed, or the file has no byte in it."""


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the part of a file of `size` bytes that a `Range` header asks for.

    Returns:
        The first byte and the byte after the last. None means the whole file: there is no range, there are several
        ranges, or the unit is unknown.

    Raises:
        UnsatisfiableRangeError: answer with 416.
    """
    if header is None or header[: len(_UNIT)].lower() != _UNIT or "," in header:
        return None
    found = _ONE_RANGE.fullmatch(header)
    match found.groups() if found else ("", ""):
        case ("", ""):
            raise UnsatisfiableRangeError(header)
        case ("", suffix):
            start, stop = max(0, size - int(suffix)), size
        case (first, ""):
            start, stop = int(first), size
        case (first, last):
            if int(last) < int(first):
                raise UnsatisfiableRangeError(header)
            start, stop = int(first), min(size, int(last) + 1)
    if start >= stop:
        raise UnsatisfiableRangeError(header)
    return start, stop


def matches(etag: str, if_none_match: str | None) -> bool:
    """Return whether the client already has the file, by its `If-None-Match` (weak comparison)."""
    if if_none_match is None:
        return False
    etags = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
    return etag in etags or etags == {"*"}
