"""A bounded queue that shares its slots fairly between parties, however much work each of them adds."""

from collections import Counter
from dataclasses import dataclass
from typing import Generic, TypeVar

Work = TypeVar("Work")


class QueueFullError(Exception):
    """Too much work is waiting, in all or for this party."""


@dataclass(eq=False, slots=True)
class Place(Generic[Work]):
    """Work in the queue, waiting or started."""

    party: str
    work: Work
    starts_at: float
    """Virtual time, in units of cost."""
    started: bool = False


class FairQueue(Generic[Work]):
    """Starts the waiting work that is due first in virtual time (start-time fair queueing).

    In virtual time, a party's next work is due when its previous work ends, and work lasts as long as it costs.
    Virtual time stands at the due time of the work that was started last, so an idle party does not save anything up.
    """

    def __init__(self, *, at_once: int, at_once_each: int, waiting: int, waiting_each: int) -> None:
        """`at_once` and `waiting` bound the work of all parties; `at_once_each` and `waiting_each`, of one party."""
        self._at_once, self._at_once_each = at_once, at_once_each
        self._max_waiting, self._max_waiting_each = waiting, waiting_each
        self._waiting: list[Place[Work]] = []
        self._running: Counter[str] = Counter()
        self._now = 0.0
        self._ends_at: dict[str, float] = {}

    def add(self, party: str, cost: float, work: Work) -> Place[Work]:
        """Add work at the end of the party's own.

        Raises:
            QueueFullError: the work would have to wait, and too much is waiting.
        """
        waiting_each = sum(place.party == party for place in self._waiting)
        if waiting_each >= self._max_waiting_each or len(self._waiting) >= self._max_waiting:
            raise QueueFullError
        place = Place(party, work, max(self._now, self._ends_at.get(party, 0.0)))
        self._ends_at[party] = place.starts_at + cost
        self._waiting.append(place)
        return place

    def start_next(self) -> Work | None:
        """Return the work to start now, or None. It runs until it is removed."""
        if self._running.total() >= self._at_once:
            return None
        ready = [place for place in self._waiting if self._running[place.party] < self._at_once_each]
        if not ready:
            return None
        place = min(ready, key=lambda each: each.starts_at)
        place.started = True
        self._waiting.remove(place)
        self._running[place.party] += 1
        self._now = max(self._now, place.starts_at)
        self._ends_at = {party: end for party, end in self._ends_at.items() if end > self._now}
        return place.work

    def remove(self, place: Place[Work]) -> None:
        """Remove work that is done, or that nobody waits for any more."""
        if place.started:
            self._running[place.party] -= 1
        else:
            self._waiting.remove(place)
        self._running = +self._running
