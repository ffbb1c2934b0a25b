"""A budget of bytes that is charged afterwards: the size of an answer is known only once it is made."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class ByteRate:
    """A bound: `burst` bytes at once, then `per_s` bytes per second."""

    burst: int
    per_s: int


@dataclass(frozen=True, slots=True)
class ByteBudget:
    """The bytes that may be read at one moment. A negative number is a debt."""

    left: float
    at_s: float
    """Monotonic clock."""

    def refilled(self, rate: ByteRate, now_s: float) -> Self:
        """Return the budget as it is now."""
        earned = max(0.0, now_s - self.at_s) * rate.per_s
        return type(self)(min(float(rate.burst), self.left + earned), now_s)

    def charged(self, size: int) -> Self:
        """Return the budget after an answer of `size` bytes."""
        return type(self)(self.left - size, self.at_s)

    def wait_s(self, rate: ByteRate) -> float:
        """Return the seconds until something is left; 0.0 if something is left already."""
        return 0.0 if self.left > 0 else (1 - self.left) / rate.per_s
