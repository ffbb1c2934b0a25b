"""Process logs: bounded files, and the lines worth showing in the terminal."""

import json
from collections.abc import Collection, Iterator
from pathlib import Path

from gifchat_cli.kinds import Kind

MAX_BYTES = 8 * 1024 * 1024
"""A larger log file is moved to `NAME.log.1`, where it replaces the previous one."""

MAX_DAYS = 7
"""Default for `gifchat up --log-days`. No line is kept longer than twice this."""
DAY_S = 24 * 3_600

_MAX_LINE_BYTES = 16 * 1024
_HARMLESS_IN_VALKEY = ("Memory overcommit must be enabled", "ready to exit, bye bye", "User requested shutdown")
"""Warnings about saving to disk, which is switched off here, and shutdown messages."""

_COLORS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)


class LineSplitter:
    """Splits a byte stream into lines. It may split a line that is longer than 16 KiB, so that memory is bounded."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the lines that `data` completes, without line ends."""
        *lines, rest = (self._rest + data).split(b"\n")
        yield from lines
        if len(rest) > _MAX_LINE_BYTES:
            yield rest
            rest = b""
        self._rest = rest

    def end(self) -> Iterator[bytes]:
        """Yield the rest at the end of the stream."""
        if self._rest:
            yield self._rest
        self._rest = b""


class BoundedLog:
    """A log that takes at most about twice `max_bytes` on disk; the older half is in `NAME.log.1`."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._file = path.open("ab", buffering=0)
        self._size = self._file.tell()

    def write(self, line: bytes) -> None:
        """Append one line."""
        if self._size > self._max_bytes:
            self._rotate()
        self._file.write(line + b"\n")
        self._size += len(line) + 1

    def rotate_if_outdated(self, max_age_s: float, now_s: float) -> None:
        """Begin a new file if `is_outdated`."""
        if is_outdated(self.path, max_age_s, now_s):
            self._rotate()

    def _rotate(self) -> None:
        self._file.close()
        rotate(self.path)
        self._file = self.path.open("ab", buffering=0)
        self._size = 0

    def close(self) -> None:
        """Close the file. Do not write afterwards."""
        self._file.close()


def rotate(path: Path) -> None:
    """Move a log file to `NAME.log.1`."""
    path.replace(path.with_name(path.name + ".1"))


def is_outdated(path: Path, max_age_s: float, now_s: float) -> bool:
    """Return whether the last line of a log was written in an earlier period of `max_age_s`.

    Times are Unix times. Periods are the same for all logs, so this needs no age of the first line.
    """
    if not path.exists() or path.stat().st_size == 0:
        return False
    return path.stat().st_mtime // max_age_s < now_s // max_age_s


def delete_outdated(folder: Path, max_age_s: float, now_s: float, in_use: Collection[Path]) -> None:
    """Delete the logs in which nothing was written for `max_age_s`: rotated ones, and those of removed processes."""
    for path in folder.glob("*.log*"):
        if path not in in_use and now_s - path.stat().st_mtime > max_age_s:
            path.unlink()


def tail(path: Path, lines: int) -> list[str]:
    """Return the last `lines` lines of a log, but at most its last 256 KiB."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(max(0, end - 256 * 1024))
        return file.read().decode(errors="replace").splitlines()[-lines:]


def for_terminal(kind: Kind, line: str) -> str | None:
    """Return what to show of a log line while the cluster runs, or None to hide it.

    Our services' and nginx's lines are shown unchanged. MongoDB and Valkey log a lot: of MongoDB only errors are shown,
    and of Valkey only warnings.
    """
    match kind:
        case Kind.MONGODB:
            return _mongod_warning(line)
        case Kind.VALKEY:
            is_warning = " # " in line[:64] and not any(words in line for words in _HARMLESS_IN_VALKEY)
            return line if is_warning else None
        case _:
            return line if line.strip() else None


def _mongod_warning(line: str) -> str | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return line if line.strip() else None
    if not isinstance(entry, dict) or entry.get("s") not in ("E", "F"):
        return None
    return f"{entry.get('s')} {entry.get('c')}: {entry.get('msg')} {json.dumps(entry.get('attr', {}))}"


class Prefixes:
    """Prefixes lines with the process's name, padded to one width and in its own colour."""

    def __init__(self, colored: bool, width: int = 11) -> None:
        self._colored = colored
        self._width = width
        self._color_of: dict[str, int] = {}

    def line(self, name: str, text: str) -> str:
        """Return `name │ text`."""
        prefix = f"{name:<{self._width}} │"
        if self._colored:
            color = self._color_of.setdefault(name, _COLORS[len(self._color_of) % len(_COLORS)])
            prefix = f"\x1b[{color}m{prefix}\x1b[0m"
        return f"{prefix} {text}"
