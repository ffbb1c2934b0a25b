"""One wheel for all connections: it sends every ping and finds every missed pong, on the monotonic clock.

All connections have the same interval, so those that are due first are those that were put in first: two queues
do, and nothing is sorted. A connection that has gone meanwhile, or was put in again, is skipped when its turn comes.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

TICK_S = 0.25
"""How often the wheel is to be turned."""


class Beating(Protocol):
    """What the wheel turns."""

    beat: int
    """Goes up whenever the connection is put in anew or ends; the wheel writes it."""

    def ping(self) -> None:
        """Send a ping."""
        ...

    def ping_missed(self) -> None:
        """The answer did not come in time: the connection is over."""
        ...


class Heartbeat:
    """Pings `interval_s` after the last pong, and gives up `timeout_s` after a ping; both up to a tick later."""

    def __init__(self, interval_s: float, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._clock = clock
        self._to_ping: deque[tuple[float, int, Beating]] = deque()
        self._to_pong: deque[tuple[float, int, Beating]] = deque()

    def alive(self, connection: Beating) -> None:
        """The connection was opened, or answered: ping it after the interval."""
        connection.beat += 1
        self._to_ping.append((self._clock() + self._interval_s, connection.beat, connection))

    def turn(self) -> None:
        """Do what is due."""
        now_s = self._clock()
        while self._to_pong and self._to_pong[0][0] <= now_s:
            _, beat, connection = self._to_pong.popleft()
            if connection.beat == beat:
                connection.beat += 1
                connection.ping_missed()
        while self._to_ping and self._to_ping[0][0] <= now_s:
            _, beat, connection = self._to_ping.popleft()
            if connection.beat == beat:
                self._to_pong.append((now_s + self._timeout_s, beat, connection))
                connection.ping()
