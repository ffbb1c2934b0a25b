"""An event loop whose time jumps: where nothing is left to do until a timer, it is that timer's time at once.

Code that waits for half a minute runs in no time, in the order in which it would have run. For tests without I/O.
"""

import asyncio
import selectors


class _NeverWaits(selectors.DefaultSelector):
    """Turns the clock on where it would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1_000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now."""
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("the test waits, and nothing is left that could happen")
        if not ready and timeout is not None:
            self.now_s += max(0.0, timeout)
        return ready


class TurnedTimeLoop(asyncio.SelectorEventLoop):
    """`time()` says what a turned clock would."""

    def __init__(self) -> None:
        self._never_waits = _NeverWaits()
        super().__init__(self._never_waits)

    def time(self) -> float:
        """Seconds; the first are `1_000.0`."""
        return self._never_waits.now_s


async def settle() -> None:
    """Let everything happen that needs no time; on a `TurnedTimeLoop` alone."""
    await asyncio.sleep(1e-4)
