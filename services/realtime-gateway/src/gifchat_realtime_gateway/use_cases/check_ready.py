"""Decide whether this node may receive new connections."""

from collections.abc import Callable
from typing import Literal

from gifchat_realtime_gateway.ports import Seats, SeatsUnavailableError

Status = Literal["ok", "draining", "deaf", "recovering"]


class CheckReady:
    """A node is ready if its subscriptions work, it is not draining, and it can admit users.

    A node that starts with an empty Redis cannot admit users for a while. A node that was ready once stays ready if
    Redis restarts empty: moving its clients would not help them.
    """

    def __init__(self, seats: Seats, draining: Callable[[], bool], hears: Callable[[], bool]) -> None:
        self._seats = seats
        self._draining = draining
        self._hears = hears
        self._was_settled = False

    async def status(self) -> Status:
        """Return `ok`, or the reason why the node is not ready."""
        if self._draining():
            return "draining"
        if not self._hears():
            return "deaf"
        if not self._was_settled:
            try:
                self._was_settled = await self._seats.recovering_for_s() == 0
            except SeatsUnavailableError:
                return "recovering"
        return "ok" if self._was_settled else "recovering"
