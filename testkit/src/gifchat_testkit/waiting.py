"""Waits for conditions with a deadline, and computes reconnect delays."""

import asyncio
import random
import time
from collections.abc import Callable

DEADLINE_S = 10.0


async def until(
    condition: Callable[[], object],
    timeout_s: float = DEADLINE_S,
    what: str = "the condition",
    poll_interval_s: float = 0.005,
) -> float:
    """Wait until `condition()` is true, and return how many seconds that took.

    Raises:
        AssertionError: `what` did not happen within `timeout_s`.
    """
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout_s, f"not within {timeout_s:g} s: {what}"
        await asyncio.sleep(poll_interval_s)
    return time.monotonic() - began


def block_until(condition: Callable[[], object], what: str, timeout_s: float = 30.0) -> None:
    """Like `until`, but blocking, for use outside an event loop.

    Raises:
        AssertionError: `what` did not happen within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.02)


def reconnect_delay_s(attempt: int, rng: random.Random) -> float:
    """Return how long our pages wait before connection attempt `attempt` (from 1): the official client's formula."""
    return float(min(5.0, 0.5 * 2 ** (attempt - 1))) * rng.uniform(0.3, 1.7)
