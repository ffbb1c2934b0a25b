"""Send the pings of all connections and detect missed pongs, on the monotonic clock (protocol section "Heartbeat").

All connections have the same interval, so the queues stay ordered by deadline without sorting. An entry whose
connection has closed or was scheduled again is skipped when it is due.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

TICK_S = 0.25
"""The longest time between two turns."""
_MAX_TURNS_PER_TIMEOUT = 100
"""Maximum turns within the shorter of interval and timeout. Connections due at almost the same time share a turn."""
_TIMER_RESOLUTION_S = 0.001
"""The timer resolution of an event loop. A connection that is due within this time is handled in the current turn."""


class Monitored(Protocol):
    """A connection that the heartbeat monitors."""

    heartbeat_generation: int
    """Increases when the connection is scheduled again or closes, which invalidates its older queue entries."""

    def ping(self) -> None:
        """Send a ping."""

    def pong_missed(self) -> None:
        """Close the connection, because the pong did not arrive in time."""


class Heartbeat:
    """Pings a connection `interval_s` after its last pong. Closes it if the ping is not answered within `timeout_s`."""

    def __init__(self, interval_s: float, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        shorter_s = min(interval_s, timeout_s)
        self._min_pause_s = min(TICK_S, shorter_s / _MAX_TURNS_PER_TIMEOUT)
        # Short enough that a connection scheduled between two turns is not due before the next turn.
        self._max_pause_s = min(TICK_S, shorter_s / 2)
        self._clock = clock
        self._pings_due: deque[tuple[float, int, Monitored]] = deque()
        self._pongs_due: deque[tuple[float, int, Monitored]] = deque()

    def schedule_ping(self, connection: Monitored) -> None:
        """Ping the connection after the interval, because it has opened or answered."""
        connection.heartbeat_generation += 1
        self._pings_due.append((self._clock() + self._interval_s, connection.heartbeat_generation, connection))

    def turn(self) -> float:
        """Send the pings and close the connections that are due. Returns the seconds until the next turn."""
        now_s = self._clock()
        until_s = now_s + _TIMER_RESOLUTION_S
        while self._pongs_due and self._pongs_due[0][0] <= until_s:
            _, generation, connection = self._pongs_due.popleft()
            if connection.heartbeat_generation == generation:
                connection.heartbeat_generation += 1
                connection.pong_missed()
        # A slightly late ping does not extend the timeout. After a stall, the client still gets nearly all of it.
        earliest_s = now_s - self._min_pause_s
        while self._pings_due and self._pings_due[0][0] <= until_s:
            due_s, generation, connection = self._pings_due.popleft()
            if connection.heartbeat_generation == generation:
                self._pongs_due.append((max(due_s, earliest_s) + self._timeout_s, generation, connection))
                connection.ping()
        next_s = min((queue[0][0] for queue in (self._pings_due, self._pongs_due) if queue), default=math.inf)
        return min(max(next_s - self._clock(), self._min_pause_s), self._max_pause_s)
