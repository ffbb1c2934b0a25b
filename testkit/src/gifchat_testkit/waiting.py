"""Waiting: for a condition, with a deadline; and before another attempt."""

import asyncio
import random
import time
from collections.abc import Callable


async def until(condition: Callable[[], object], timeout_s: float, what: str, look_every_s: float = 0.01) -> None:
    """Return as soon as `condition()` is true.

    Raises:
        AssertionError: not within `timeout_s`; `what` was waited for.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        await asyncio.sleep(look_every_s)


def reconnect_delay_s(attempt: int, rng: random.Random) -> float:
    """What our pages wait before connection attempt `attempt` (from 1), seconds: the official client's formula."""
    return float(min(5.0, 0.5 * 2 ** (attempt - 1))) * rng.uniform(0.3, 1.7)
