"""A token bucket: a burst at once, then one more token at a fixed interval."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """The fill level of a bucket at one moment."""

    tokens: float
    at_s: float
    """Monotonic clock."""

    def take(self, burst: int, refill_s: float, now_s: float) -> tuple[Self, float]:
        """Try to take one token.

        Returns:
            The bucket afterwards, and the seconds until the next token (0.0 if one was taken).
        """
        tokens = min(float(burst), self.tokens + max(0.0, now_s - self.at_s) / refill_s)
        if tokens >= 1:
            return type(self)(tokens - 1, now_s), 0.0
        return type(self)(tokens, now_s), (1 - tokens) * refill_s
