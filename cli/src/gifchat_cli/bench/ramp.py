"""Decides when the audience stops growing. Pure: the caller passes the measurements."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Stop(StrEnum):
    """Why the audience stopped growing."""

    LATE = "p99"
    LOSS = "loss"
    REFUSED = "refused"
    MAX = "max"
    FILES = "files"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Plan:
    """How far the audience grows."""

    step: int
    """Viewers added per step."""
    max_viewers: int
    """Viewers at the last step."""
    p99_ms: float
    """The latency limit."""

    def targets(self) -> Iterator[int]:
        """Yield the number of viewers of each step; the last one is `max_viewers`."""
        yield from range(self.step, self.max_viewers, self.step)
        yield self.max_viewers


@dataclass(frozen=True, slots=True)
class Step:
    """The measurements at one audience size."""

    viewers: int
    messages: int
    deliveries: int
    expected: int
    out_of_order: int
    lost_viewers: int
    """Connections that broke."""
    deliveries_per_s: float
    p50_ms: float
    p99_ms: float
    load_share: float
    """The share of a core that the load generator used."""

    @property
    def lost(self) -> int:
        """The number of missing deliveries."""
        return max(0, self.expected - self.deliveries)

    @property
    def whole(self) -> bool:
        """Whether every viewer got every message, once and in order."""
        return self.deliveries == self.expected and not self.out_of_order and not self.lost_viewers


def verdict(step: Step, plan: Plan) -> Stop | None:
    """Return why this step is the last one, or None to continue. Loss takes precedence over lateness."""
    if not step.whole:
        return Stop.LOSS
    if step.p99_ms > plan.p99_ms:
        return Stop.LATE
    return Stop.MAX if step.viewers >= plan.max_viewers else None


def held(steps: Sequence[Step], plan: Plan) -> Step | None:
    """Return the step with the largest audience that got everything in time."""
    good = [step for step in steps if verdict(step, plan) in (None, Stop.MAX)]
    return max(good, key=lambda step: step.viewers, default=None)
