"""When a process that died is started again, and when the cluster gives up. Pure: the time is passed in."""

from dataclasses import dataclass, field

CRASHES_TO_GIVE_UP = 3
WINDOW_S = 60.0
FIRST_DELAY_S = 0.5


@dataclass(frozen=True, slots=True)
class Restart:
    """Start it again after `delay_s`."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It does not help: stop the cluster."""

    crashes: int


@dataclass(slots=True)
class RestartPolicy:
    """Counts the crashes of one process within a sliding window."""

    crashed_at: list[float] = field(default_factory=list)

    def crashed(self, now: float) -> Restart | GiveUp:
        """Decide after a crash at `now` (seconds of a monotonic clock)."""
        self.crashed_at = [then for then in self.crashed_at if now - then < WINDOW_S] + [now]
        crashes = len(self.crashed_at)
        if crashes >= CRASHES_TO_GIVE_UP:
            return GiveUp(crashes)
        return Restart(FIRST_DELAY_S * 2 ** (crashes - 1))
