"""The two request headers that decide how much of a file is sent (RFC 9110, sections 13 and 14)."""

import re

_UNIT = "bytes="
_ONE_RANGE = re.compile(rf"{_UNIT}[ \t]*(\d{{0,20}})-(\d{{0,20}})[ \t]*", re.ASCII | re.IGNORECASE)


class UnsatisfiableRangeError(ValueError):
    """The file has no byte that was asked for, or what was asked for is no range."""


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The part of a file of `size` bytes that a `Range` header asks for.

    Returns:
        First byte and the byte behind the last; None: send all of it, because no part of it was asked for, or several
        parts, or parts in a unit that is not known.

    Raises:
        UnsatisfiableRangeError: the answer is 416.
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
    """Whether the client has the file already, by its `If-None-Match` (weak comparison)."""
    if if_none_match is None:
        return False
    known = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
    return etag in known or known == {"*"}
