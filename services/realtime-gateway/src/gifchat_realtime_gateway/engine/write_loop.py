"""The write loop of broadcasts, one write per connection: in C (`write_loop.c`) if that was built, else in Python."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

try:
    from gifchat_realtime_gateway.engine import _write_loop
except ImportError:
    # The package was installed without a C compiler.
    _write_loop = None  # type: ignore[assignment]

NOT_WRITABLE = -1
BROKEN = -2


class PythonSink:
    """A connection that the loop can write to."""

    __slots__ = ("fd",)

    fd: int
    """The socket's file descriptor while direct writes are allowed, otherwise negative."""


def python_write_all(sinks: Sequence[PythonSink], data: bytes) -> list[tuple[int, int]]:
    """Write `data` to the socket of each sink that allows direct writes. Never blocks.

    Returns:
        (index in `sinks`, bytes accepted) for each sink that did not accept everything. Instead of the bytes:
        `NOT_WRITABLE` if the sink does not allow direct writes, `BROKEN` if its socket failed.
    """
    write, size, incomplete = os.write, len(data), []
    for index, sink in enumerate(sinks):
        fd = sink.fd
        try:
            sent = write(fd, data) if fd >= 0 else NOT_WRITABLE
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = BROKEN
        if sent != size:
            incomplete.append((index, sent))
    return incomplete


if TYPE_CHECKING or _write_loop is None:
    Sink = PythonSink
    write_all = python_write_all
else:
    Sink = _write_loop.Sink
    write_all = _write_loop.write_all
WRITE_LOOP = "Python" if _write_loop is None else "C"
