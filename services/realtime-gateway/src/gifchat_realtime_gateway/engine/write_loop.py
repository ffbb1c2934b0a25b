"""The loop of every broadcast, a write for each connection: in C where that was built (`write_loop.c`), else Python."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

try:
    from gifchat_realtime_gateway.engine import _write_loop
except ImportError:
    # It was installed where there is no C compiler.
    _write_loop = None  # type: ignore[assignment]

NOT_NOW = -1
BROKEN = -2


class SinkInPython:
    """What is written to."""

    __slots__ = ("fd",)

    fd: int
    """The socket's file descriptor, as long as frames may be written to it at once; otherwise it is negative."""


def write_all_in_python(sinks: Sequence[SinkInPython], data: bytes) -> list[tuple[int, int]]:
    """Write `data` to the sockets of all sinks that may be written to at once.

    Returns:
        (place in `sinks`, how many bytes were taken) of each that did not take all of it: `NOT_NOW` where nothing may
        be written to at once, `BROKEN` where the socket is.
    """
    write, size, rest = os.write, len(data), []
    for place, sink in enumerate(sinks):
        fd = sink.fd
        try:
            sent = write(fd, data) if fd >= 0 else NOT_NOW
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = BROKEN
        if sent != size:
            rest.append((place, sent))
    return rest


if TYPE_CHECKING or _write_loop is None:
    Sink = SinkInPython
    write_all = write_all_in_python
else:
    Sink = _write_loop.Sink
    write_all = _write_loop.write_all
WRITE_LOOP = "Python" if _write_loop is None else "C"
