"""A token bucket: so many at once, and one more every so often."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """How full a bucket was at a moment."""

    tokens: float
    at_s: float
    """Monotonic."""

    def take(self, burst: int, every_s: float, now_s: float) -> tuple[Self, float]:
        """The bucket after one token was taken, or was not, and the seconds until there is one (0.0: taken)."""
        tokens = min(float(burst), self.tokens + max(0.0, now_s - self.at_s) / every_s)
        if tokens >= 1:
            return type(self)(tokens - 1, now_s), 0.0
        return type(self)(tokens, now_s), (1 - tokens) * every_s
