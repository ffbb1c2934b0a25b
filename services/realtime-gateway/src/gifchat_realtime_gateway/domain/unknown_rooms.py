"""Rooms that rooms-api does not know. For a while, joining them again costs no request."""

from gifchat_contracts.ids import RoomId

UNKNOWN_ROOM_TTL_S = 5.0
MAX_UNKNOWN_ROOMS = 10_000


class UnknownRooms:
    """Remembers for `ttl_s` that a room does not exist. The `newRoom` event of a room ends that."""

    def __init__(self, ttl_s: float = UNKNOWN_ROOM_TTL_S, max_rooms: int = MAX_UNKNOWN_ROOMS) -> None:
        self._ttl_s = ttl_s
        self._max_rooms = max_rooms
        self._until_s: dict[RoomId, float] = {}
        """When each room is forgotten, in ascending order."""
        self.creations = 0
        """How many creations of rooms this node has heard of."""

    def __len__(self) -> int:
        return len(self._until_s)

    def has(self, room_id: RoomId, now_s: float) -> bool:
        """Return whether the room did not exist a moment ago."""
        until_s = self._until_s.get(room_id)
        return until_s is not None and now_s < until_s

    def add(self, room_id: RoomId, creations: int, now_s: float) -> None:
        """Remember that a room does not exist. `creations`: its value before rooms-api was asked.

        If a room was created since, it may be this one, so nothing is remembered.
        """
        if creations != self.creations:
            return
        self._until_s.pop(room_id, None)
        self._until_s[room_id] = now_s + self._ttl_s
        while self._until_s:
            oldest = next(iter(self._until_s))
            if len(self._until_s) <= self._max_rooms and now_s < self._until_s[oldest]:
                break
            del self._until_s[oldest]

    def created(self, room_id: RoomId) -> None:
        """Forget that the room did not exist."""
        self.creations += 1
        self._until_s.pop(room_id, None)
