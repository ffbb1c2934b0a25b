"""Splice two TCP connections: data from each side is written to the other, in order."""

import asyncio
from collections.abc import Callable
from typing import cast

LINGER_S = 2.0
"""How long one side may take to send its remaining data after the other side has closed."""
BACKLOG_TIMEOUT_S = 60.0
"""How long a side may take to read its backlog. Meanwhile the other side is not read, so its EOF goes unnoticed."""


class Side(asyncio.Protocol):
    """One of the two connections. Until it is joined to the other one, it pauses reading and buffers early data."""

    __slots__ = ("_backlog_timer", "_early_data", "_got_eof", "_on_lost", "_other", "transport")

    def __init__(self, on_lost: Callable[[], object] = lambda: None) -> None:
        """`on_lost` is called once, when this side's connection is lost."""
        self._on_lost = on_lost
        self.transport: asyncio.Transport | None = None
        self._other: Side | None = None
        self._early_data: list[bytes] = []
        self._got_eof = False
        self._backlog_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, because uvloop's transports do not subclass `asyncio.Transport`.
        self.transport = cast("asyncio.Transport", transport)
        self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        if self._other is None:
            self._early_data.append(data)
        else:
            self._other.write(data)

    def eof_received(self) -> bool:
        """Half-close the other side. Both close once both have sent EOF, or after `LINGER_S`."""
        self._got_eof = True
        other = self._other
        if other is None or other._got_eof:
            return False
        if other.transport is not None and not other.transport.is_closing():
            other.transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER_S, other._abort)
        return True

    def pause_writing(self) -> None:
        """Stop reading from the other side, because this side's peer reads too slowly."""
        other = self._other.transport if self._other is not None else None
        if other is not None and not other.is_closing():
            other.pause_reading()
        self._backlog_timer = asyncio.get_running_loop().call_later(BACKLOG_TIMEOUT_S, self._abort)

    def resume_writing(self) -> None:
        """Read from the other side again, because this side's peer has read its backlog."""
        self._cancel_backlog_timer()
        if self._other is not None:
            self._other._resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the other side too: immediately after an error, otherwise after its remaining data."""
        self._cancel_backlog_timer()
        self.transport = None
        other, self._other = self._other, None
        if other is not None:
            other._other = None
            other.close(at_once=exc is not None)
        self._on_lost()

    def join(self, other: "Side", first: bytes) -> None:
        """Join the two sides. `other` gets `first`, then the data that this side has buffered.

        If this side is closed already, `other` is closed.
        """
        if self.transport is None or self.transport.is_closing():
            other.close()
            return
        self._other, other._other = other, self
        other.write(first + b"".join(self._early_data))
        self._early_data.clear()
        self._resume_reading()
        other._resume_reading()

    def write(self, data: bytes) -> None:
        """Write to this side; a no-op once its connection is closed."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def close(self, *, at_once: bool = False) -> None:
        """Close this side after its buffered data is sent, within `LINGER_S`. `at_once` drops that data."""
        if self.transport is None:
            return
        if at_once:
            self.transport.abort()
            return
        self.transport.close()
        asyncio.get_running_loop().call_later(LINGER_S, self.transport.abort)

    def _abort(self) -> None:
        self.close(at_once=True)

    def _cancel_backlog_timer(self) -> None:
        if self._backlog_timer is not None:
            self._backlog_timer.cancel()
            self._backlog_timer = None

    def _resume_reading(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()
