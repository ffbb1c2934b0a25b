"""Joins two TCP connections: data from each side is written to the other, in order."""

import asyncio
from collections.abc import Callable
from typing import cast

LINGER_S = 2.0
"""How long one side may take to send the remaining data after the other side closed."""
STUCK_S = 60.0
"""How long a side may take to read its backlog. Until it has, the other side is not read, so its end goes unseen."""


class Half(asyncio.Protocol):
    """One side. It pauses reading, and buffers early data, until it is joined to the other side."""

    __slots__ = ("_early", "_ended", "_on_lost", "_other", "_stuck", "transport")

    def __init__(self, on_lost: Callable[[], None] = lambda: None) -> None:
        """`on_lost` is called once, when this side's connection is lost."""
        self._on_lost = on_lost
        self.transport: asyncio.Transport | None = None
        self._other: Half | None = None
        self._early: list[bytes] = []
        self._ended = False
        self._stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        # A cast, because uvloop's transports do not subclass `asyncio.Transport`.
        self.transport = cast("asyncio.Transport", transport)
        self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._other is None:
            self._early.append(data)
        else:
            self._other.write(data)

    def eof_received(self) -> bool:
        """Half-close the other side; close both when both have ended, or after `LINGER_S`."""
        self._ended = True
        other = self._other
        if other is None or other._ended:
            return False
        if other.transport is not None and not other.transport.is_closing():
            other.transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER_S, other._abort)
        return True

    def pause_writing(self) -> None:
        """This side reads too slowly: stop reading from the other."""
        other = self._other.transport if self._other is not None else None
        if other is not None and not other.is_closing():
            other.pause_reading()
        self._stuck = asyncio.get_running_loop().call_later(STUCK_S, self._abort)

    def resume_writing(self) -> None:
        """This side has caught up."""
        self._unstick()
        if self._other is not None:
            self._other._read()

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the other side too: at once after an error, otherwise after the remaining data."""
        self._unstick()
        self.transport = None
        other, self._other = self._other, None
        if other is not None:
            other._other = None
            other.close(at_once=exc is not None)
        self._on_lost()

    def join(self, other: "Half", first: bytes) -> None:
        """Join the two sides. Writes `first` to `other`, then the data that this side has buffered.

        Closes `other` if this side is gone already.
        """
        if self.transport is None or self.transport.is_closing():
            other.close()
            return
        self._other, other._other = other, self
        other.write(first + b"".join(self._early))
        self._early.clear()
        self._read()
        other._read()

    def write(self, data: bytes) -> None:
        """Write to this side; a no-op once its connection is closed."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def close(self, *, at_once: bool = False) -> None:
        """Close this side after sending its buffered data, within `LINGER_S`. With `at_once`, drop that data."""
        if self.transport is None:
            return
        if at_once:
            self.transport.abort()
            return
        self.transport.close()
        asyncio.get_running_loop().call_later(LINGER_S, self.transport.abort)

    def _abort(self) -> None:
        self.close(at_once=True)

    def _unstick(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _read(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()
