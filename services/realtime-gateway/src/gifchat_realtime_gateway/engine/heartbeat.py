"""One wheel for all connections: it sends every ping and finds every missed pong, on the monotonic clock.

All connections have the same interval, so those that are due first are those that were put in first: two queues
do, and nothing is sorted. A connection that has gone meanwhile, or was put in again, is skipped when its turn comes.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

TICK_S = 0.25
"""The longest time between two turns of the wheel."""
_TURNS = 100
"""Most turns within the shorter of interval and timeout. Connections that are due almost together share a turn."""
_EARLY_S = 0.001
"""The timer resolution of an event loop. A connection that is due within this time is served at once."""


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
    """Pings `interval_s` after the last pong and gives up `timeout_s` after the ping, each up to one pause late."""

    def __init__(self, interval_s: float, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        shorter_s = min(interval_s, timeout_s)
        self._shortest_pause_s = min(TICK_S, shorter_s / _TURNS)
        # Short enough that a connection added between two turns is not due before the next turn.
        self._longest_pause_s = min(TICK_S, shorter_s / 2)
        self._clock = clock
        self._to_ping: deque[tuple[float, int, Beating]] = deque()
        self._to_pong: deque[tuple[float, int, Beating]] = deque()

    def alive(self, connection: Beating) -> None:
        """The connection was opened, or answered: ping it after the interval."""
        connection.beat += 1
        self._to_ping.append((self._clock() + self._interval_s, connection.beat, connection))

    def turn(self) -> float:
        """Send the pings and close the connections that are due; returns the seconds until the next turn."""
        now_s = self._clock()
        until_s = now_s + _EARLY_S
        while self._to_pong and self._to_pong[0][0] <= until_s:
            _, beat, connection = self._to_pong.popleft()
            if connection.beat == beat:
                connection.beat += 1
                connection.ping_missed()
        # A slightly late ping does not extend the timeout. After a busy loop the client gets nearly all of it.
        earliest_s = now_s - self._shortest_pause_s
        while self._to_ping and self._to_ping[0][0] <= until_s:
            due_s, beat, connection = self._to_ping.popleft()
            if connection.beat == beat:
                self._to_pong.append((max(due_s, earliest_s) + self._timeout_s, beat, connection))
                connection.ping()
        next_s = min((queue[0][0] for queue in (self._to_ping, self._to_pong) if queue), default=math.inf)
        return min(max(next_s - self._clock(), self._shortest_pause_s), self._longest_pause_s)
