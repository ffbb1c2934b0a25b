"""Two TCP connections joined into one: what comes from one side is written to the other, in order."""

import asyncio
from collections.abc import Callable
from typing import cast

LINGER_S = 2.0
"""How long the other side has to take what is left after one side is gone."""


class Half(asyncio.Protocol):
    """One side. Data that arrives before the other side is joined is kept, and reading rests."""

    __slots__ = ("_early", "_ended", "_on_lost", "_other", "transport")

    def __init__(self, on_lost: Callable[[], None] = lambda: None) -> None:
        """`on_lost` is called once, when this side is gone."""
        self._on_lost = on_lost
        self.transport: asyncio.Transport | None = None
        self._other: Half | None = None
        self._early: list[bytes] = []
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        # uvloop's transports are not registered as what they are.
        self.transport = cast("asyncio.Transport", transport)
        self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._other is None:
            self._early.append(data)
        else:
            self._other.write(data)

    def eof_received(self) -> bool:
        """Half-close the other side; close both when both have ended."""
        self._ended = True
        other = self._other
        if other is None or other._ended:
            return False
        if other.transport is not None and not other.transport.is_closing():
            other.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        """This side reads too slowly: stop reading from the other."""
        other = self._other.transport if self._other is not None else None
        if other is not None and not other.is_closing():
            other.pause_reading()

    def resume_writing(self) -> None:
        """This side has caught up."""
        if self._other is not None:
            self._other._read()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the other side too: at once after an error, otherwise once it has taken what is left."""
        self.transport = None
        other, self._other = self._other, None
        if other is not None:
            other._other = None
            other.close(at_once=exc is not None)
        self._on_lost()

    def join(self, other: "Half", first: bytes) -> None:
        """Join the two sides; `first` is written to `other` before what this side has received."""
        self._other, other._other = other, self
        other.write(first + b"".join(self._early))
        self._early.clear()
        self._read()
        other._read()

    def write(self, data: bytes) -> None:
        """Write to this side; nothing happens once it is gone."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def close(self, *, at_once: bool = False) -> None:
        """Close this side after what was written to it, within `LINGER_S`; `at_once`: drop what is unwritten."""
        if self.transport is None:
            return
        if at_once:
            self.transport.abort()
            return
        self.transport.close()
        asyncio.get_running_loop().call_later(LINGER_S, self.transport.abort)

    def _read(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()
