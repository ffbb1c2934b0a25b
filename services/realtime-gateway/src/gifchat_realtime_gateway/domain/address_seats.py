"""The seats that this node's sessions hold, by client address. A seat counts until its grace ends."""

import heapq

from gifchat_contracts.ids import RoomId, UserId

Seat = tuple[RoomId, UserId]


class AddressSeats:
    """Counts seats, not sessions: two tabs of a user in a room are one seat. Times are monotonic, in seconds."""

    def __init__(self) -> None:
        self._sessions: dict[str, dict[Seat, int]] = {}
        """Sessions by address and seat; 0: the seat is in its grace."""
        self._graces: list[tuple[float, str, Seat]] = []
        """A heap of the times when graces of seats end."""

    def take(self, address: str, seat: Seat, now_s: float) -> int:
        """Add a session to a seat. Return how many seats the address holds now."""
        self._end_graces(now_s)
        seats = self._sessions.setdefault(address, {})
        seats[seat] = seats.get(seat, 0) + 1
        return len(seats)

    def give_back(self, address: str, seat: Seat, now_s: float, grace_s: float) -> None:
        """End a session. After the last session, the seat counts for `grace_s` more; a no-op without a session."""
        seats = self._sessions.get(address, {})
        if not seats.get(seat):
            return
        seats[seat] -= 1
        if not seats[seat]:
            heapq.heappush(self._graces, (now_s + grace_s, address, seat))
        self._end_graces(now_s)

    def above(self, bound: int, now_s: float) -> dict[str, int]:
        """Return the addresses that hold more than `bound` seats, with their numbers."""
        self._end_graces(now_s)
        return {address: len(seats) for address, seats in self._sessions.items() if len(seats) > bound}

    def _end_graces(self, now_s: float) -> None:
        while self._graces and self._graces[0][0] <= now_s:
            _, address, seat = heapq.heappop(self._graces)
            seats = self._sessions.get(address, {})
            if seats.get(seat) == 0:
                del seats[seat]
                if not seats:
                    del self._sessions[address]
