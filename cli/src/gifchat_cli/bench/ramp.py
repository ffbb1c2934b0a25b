"""When a ramp goes on, and when it ends. Pure: what was measured is passed in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Stop(StrEnum):
    """Why there is no further step."""

    LATE = "p99"
    LOSS = "loss"
    REFUSED = "refused"
    MOST = "max"
    FILES = "files"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Plan:
    """How far a ramp goes."""

    step: int
    """Viewers more at each step."""
    most: int
    """Viewers at the last step."""
    p99_ms: float
    """Above this the audience is too large."""

    def targets(self) -> Iterator[int]:
        """How many viewers each step has; the last one is `most`."""
        yield from range(self.step, self.most, self.step)
        yield self.most


@dataclass(frozen=True, slots=True)
class Step:
    """What was measured with an audience of a size."""

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
    """Of a core, what the load itself took."""

    @property
    def lost(self) -> int:
        """Deliveries that did not come."""
        return max(0, self.expected - self.deliveries)

    @property
    def whole(self) -> bool:
        """Everybody got everything, once and in order."""
        return self.deliveries == self.expected and not self.out_of_order and not self.lost_viewers


def verdict(step: Step, plan: Plan) -> Stop | None:
    """Why this step is the last one; None: go on. A loss weighs more than being late."""
    if not step.whole:
        return Stop.LOSS
    if step.p99_ms > plan.p99_ms:
        return Stop.LATE
    return Stop.MOST if step.viewers >= plan.most else None


def held(steps: Sequence[Step], plan: Plan) -> Step | None:
    """The largest audience that everything reached in time."""
    good = [step for step in steps if verdict(step, plan) in (None, Stop.MOST)]
    return max(good, key=lambda step: step.viewers, default=None)
