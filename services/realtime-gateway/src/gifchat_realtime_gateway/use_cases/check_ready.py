"""Whether this node is to be sent new sockets."""

from collections.abc import Callable
from typing import Literal

from gifchat_realtime_gateway.ports import Seats, SeatsUnavailableError

Status = Literal["ok", "draining", "deaf", "recovering"]


class CheckReady:
    """Ready: it hears its channels, does not stop, and can let people in.

    A node that starts beside an empty Redis cannot, for a while. One that was ready stays so when Redis comes back
    empty later: whoever is here already is better off staying.
    """

    def __init__(self, seats: Seats, draining: Callable[[], bool], hears: Callable[[], bool]) -> None:
        self._seats = seats
        self._draining = draining
        self._hears = hears
        self._was_settled = False

    async def status(self) -> Status:
        """`ok`, or why not."""
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
