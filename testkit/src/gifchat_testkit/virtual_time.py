"""An event loop with a virtual clock: when it would wait for a timer, its time jumps to that timer.

Code that waits for half a minute finishes at once, and timers keep their order. Only for tests without I/O.
"""

import asyncio
import selectors


class _VirtualClockSelector(selectors.DefaultSelector):
    """Advances the clock instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1_000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return the ready events."""
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("the test waits, but no timer is left")
        if not ready and timeout is not None:
            self.now_s += max(0.0, timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop whose `time()` is virtual."""

    def __init__(self) -> None:
        self._selector_with_clock = _VirtualClockSelector()
        super().__init__(self._selector_with_clock)

    def time(self) -> float:
        """The virtual time in seconds; it starts at 1,000."""
        return self._selector_with_clock.now_s


async def settle() -> None:
    """Run everything that is ready now. Works only on a `VirtualTimeLoop`."""
    await asyncio.sleep(1e-4)
