"""A token bucket: a burst at once, then one more token at a fixed interval."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """The fill level of a bucket at one moment."""

    tokens: float
    at_s: float
    """Monotonic clock."""

    def take(self, burst: int, refill_s: float, now_s: float, wanted: int = 1) -> tuple[Self, float]:
        """Try to take `wanted` tokens, or `burst` if that is less.

        Returns:
            The bucket afterwards, and the seconds until there are enough tokens (0.0 if they were taken).
        """
        wanted = min(wanted, burst)
        tokens = min(float(burst), self.tokens + max(0.0, now_s - self.at_s) / refill_s)
        if tokens >= wanted:
            return type(self)(tokens - wanted, now_s), 0.0
        return type(self)(tokens, now_s), (wanted - tokens) * refill_s
