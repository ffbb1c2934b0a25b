"""Decides when to restart a crashed process. Pure: the caller passes the time."""

from dataclasses import dataclass, field

CRASH_LOOP_CRASHES = 3
WINDOW_S = 60.0
FIRST_DELAY_S = 0.5
MAX_DELAY_S = 30.0
STEADY_S = 10.0
"""A process in a crash loop that has been ready for this long has recovered."""


@dataclass(frozen=True, slots=True)
class Restart:
    """The decision: restart the process after `delay_s`."""

    delay_s: float
    crash_loop: bool
    """The process crashed `CRASH_LOOP_CRASHES` times within `WINDOW_S` and has not recovered since."""


@dataclass(slots=True)
class RestartPolicy:
    """Counts the crashes of one process in a sliding window."""

    _crashed_at: list[float] = field(default_factory=list)
    _loop_delay_s: float | None = None
    """The latest delay of the current crash loop; None outside a crash loop."""

    def crashed(self, now: float) -> Restart:
        """Decide after a crash at `now` (seconds of a monotonic clock)."""
        if self._loop_delay_s is not None:
            self._loop_delay_s = min(2 * self._loop_delay_s, MAX_DELAY_S)
            return Restart(self._loop_delay_s, crash_loop=True)
        self._crashed_at = [then for then in self._crashed_at if now - then < WINDOW_S] + [now]
        crashes = len(self._crashed_at)
        delay_s = FIRST_DELAY_S * 2 ** (crashes - 1)
        if crashes < CRASH_LOOP_CRASHES:
            return Restart(delay_s, crash_loop=False)
        self._loop_delay_s = delay_s
        return Restart(delay_s, crash_loop=True)

    def recovered(self) -> None:
        """Forget all crashes."""
        self._crashed_at.clear()
        self._loop_delay_s = None
