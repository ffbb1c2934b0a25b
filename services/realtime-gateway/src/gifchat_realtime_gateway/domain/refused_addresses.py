"""Addresses that sent too many messages into a room. Refusing their next messages costs no request for a while."""

from gifchat_contracts.ids import RoomId

MAX_WAIT_S = 1.0
MAX_REFUSED_ADDRESSES = 10_000


class RefusedAddresses:
    """Remembers for which rooms rooms-api refused the messages of an address, at most `max_wait_s`."""

    def __init__(self, max_wait_s: float = MAX_WAIT_S, max_addresses: int = MAX_REFUSED_ADDRESSES) -> None:
        self._max_wait_s = max_wait_s
        self._max_addresses = max_addresses
        self._until_s: dict[tuple[RoomId, str], float] = {}
        """When each refusal ends, in the order of the refusals."""

    def __len__(self) -> int:
        return len(self._until_s)

    def wait_s(self, room_id: RoomId, address: str, now_s: float) -> float:
        """Return for how long the messages of an address are still refused in this room; 0 if they are not."""
        return max(0.0, self._until_s.get((room_id, address), now_s) - now_s)

    def add(self, room_id: RoomId, address: str, wait_s: float, now_s: float) -> None:
        """Remember a refusal. `wait_s` is what rooms-api said."""
        self._until_s.pop((room_id, address), None)
        self._until_s[room_id, address] = now_s + min(wait_s, self._max_wait_s)
        while self._until_s:
            oldest = next(iter(self._until_s))
            if len(self._until_s) <= self._max_addresses and now_s < self._until_s[oldest]:
                break
            del self._until_s[oldest]
