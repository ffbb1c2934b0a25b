"""The fake of `gifchat_realtime_gateway.adapters.redis_seats`: seats in memory, on a clock that the test controls."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from gifchat_contracts import keys
from gifchat_contracts.grants import Grant
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import NodeId, RoomId, UserId
from gifchat_realtime_gateway.domain.seats import Admission, Departure, HeldSeats, Readmission
from gifchat_realtime_gateway.ports import SeatsUnavailableError


@dataclass(slots=True)
class Seat:
    """A member's seat. Without a node it is in its grace period."""

    color: str
    nodes: set[NodeId] = field(default_factory=set)
    grace_ends_at_s: float | None = None


class SeatStore:
    """The in-memory Redis: the seats of all rooms, shared by the `FakeSeats` of every node."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` returns seconds. At first, no partition is in recovery."""
        self.clock = clock
        self.down = False
        """Whether every call raises `SeatsUnavailableError`."""
        self.members: dict[RoomId, dict[UserId, Seat]] = defaultdict(dict)
        self.lease_ends_at_s: dict[tuple[RoomId, NodeId], float] = {}
        self.recovered_at_s: dict[int, float] = dict.fromkeys(range(keys.PARTITIONS), 0.0)
        self.used_tickets: set[tuple[RoomId, str]] = set()
        self.address_seats: dict[str, dict[NodeId, tuple[int, float]]] = defaultdict(dict)
        """Seats and expiry by address and node."""
        self.grants: dict[tuple[RoomId, UserId], Grant] = {}

    def flush(self) -> None:
        """Restart Redis empty."""
        self.members.clear()
        self.lease_ends_at_s.clear()
        self.recovered_at_s.clear()
        self.used_tickets.clear()
        self.grants.clear()

    def recovering_for_s(self, partition: int, recovering_s: float) -> float:
        """Return the seconds until the partition's recovery ends; start the recovery if it is due."""
        return max(0.0, self.recovered_at_s.setdefault(partition, self.clock() + recovering_s) - self.clock())

    def release(self, room_id: RoomId, node_id: NodeId, user_id: UserId, grace_s: float) -> Departure:
        """Remove the user's last session on the node."""
        seat = self.members[room_id].get(user_id)
        if seat is None:
            return Departure(room_id, user_id, "", "absent", len(self.members[room_id]))
        if node_id not in seat.nodes or len(seat.nodes) > 1:
            seat.nodes.discard(node_id)
            return Departure(room_id, user_id, seat.color, "held", len(self.members[room_id]))
        if grace_s > 0:
            seat.nodes.clear()
            seat.grace_ends_at_s = self.clock() + grace_s
            return Departure(room_id, user_id, seat.color, "grace", len(self.members[room_id]))
        return self.free(room_id, user_id)

    def free(self, room_id: RoomId, user_id: UserId) -> Departure:
        """Remove the user's seat."""
        seat = self.members[room_id].pop(user_id, None)
        if seat is None:
            return Departure(room_id, user_id, "", "absent", len(self.members[room_id]))
        return Departure(room_id, user_id, seat.color, "gone", len(self.members[room_id]))

    def reap(self, only_room: RoomId | None = None, exclude_node: NodeId | None = None) -> list[Departure]:
        """Free expired seats, except those of `exclude_node`. In a recovery, nodes lose seats only in `only_room`."""
        gone = []
        for (room_id, node_id), ends_at_s in list(self.lease_ends_at_s.items()):
            recovers = only_room is None and self.recovered_at_s[keys.partition_of(room_id)] > self.clock()
            if not recovers and ends_at_s <= self.clock() and only_room in (None, room_id) and node_id != exclude_node:
                del self.lease_ends_at_s[room_id, node_id]
                holders = [user_id for user_id, seat in self.members[room_id].items() if node_id in seat.nodes]
                gone += [self.release(room_id, node_id, user_id, 0) for user_id in holders]
        for room_id, members in self.members.items():
            if only_room in (None, room_id):
                ended = [
                    user_id
                    for user_id, seat in members.items()
                    if seat.grace_ends_at_s is not None and seat.grace_ends_at_s <= self.clock()
                ]
                gone += [self.free(room_id, user_id) for user_id in ended]
        return [departure for departure in gone if departure.outcome == "gone"]


class FakeSeats:
    """`gifchat_realtime_gateway.ports.Seats` of one node, in memory."""

    def __init__(
        self,
        store: SeatStore,
        node_id: NodeId,
        lease_ttl_s: float,
        grace_s: float,
        recovering_s: float,
        *,
        readmission_s: float = 0.0,
        guest_grace_s: float | None = None,
    ) -> None:
        self._store = store
        self._node_id = node_id
        self._lease_ttl_s = lease_ttl_s
        self._grace_s = grace_s
        self._guest_grace_s = grace_s if guest_grace_s is None else guest_grace_s
        self._recovering_s = recovering_s
        self._readmission_s = readmission_s
        self._held = HeldSeats()
        self._lost: set[RoomId] = set()
        self._reaped_before: list[Departure] = []

    async def admit(
        self, room_id: RoomId, who: Identity, *, max_members: int | None, ticket_id: str | None
    ) -> Admission:
        """See the port."""
        self._raise_if_down()
        store, members = self._store, self._store.members[room_id]
        recovering_s = self._recovering(room_id)
        seated = who.user_id in members
        if recovering_s and not seated:
            return Admission("recovering", len(members), retry_after_s=recovering_s)
        if (room_id, ticket_id) in store.used_tickets:
            return Admission("ticket_used", len(members))
        if max_members is not None and not seated and len(members) >= max_members:
            self._reaped_before += store.reap(room_id, self._node_id)
            if len(members) >= max_members:
                return Admission("room_full", len(members))
        if ticket_id is not None:
            store.used_tickets.add((room_id, ticket_id))
        if room_id in self._held and (room_id, self._node_id) not in store.lease_ends_at_s:
            self._lost.add(room_id)
        self._hold(room_id, who)
        self._held.add(room_id, who)
        return Admission("admitted", len(members), arrived=not seated)

    def holds(self, room_id: RoomId, user_id: UserId) -> bool:
        """See the port."""
        return self._held.sessions(room_id, user_id) > 0

    async def leave(self, room_id: RoomId, user_id: UserId, *, guest: bool = False) -> Departure:
        """See the port."""
        left = self._held.take(room_id, user_id)
        self._raise_if_down()
        if left:
            seat = self._store.members[room_id].get(user_id)
            occupancy = len(self._store.members[room_id])
            if seat is None:
                return Departure(room_id, user_id, "", "absent", occupancy)
            return Departure(room_id, user_id, seat.color, "held", occupancy)
        grace_s = self._guest_grace_s if guest else self._grace_s
        departure = self._store.release(room_id, self._node_id, user_id, grace_s)
        self._forget_room_without_sessions(room_id)
        return departure

    async def remove(self, room_id: RoomId, user_id: UserId) -> Departure:
        """See the port."""
        self._held.drop(room_id, user_id)
        self._raise_if_down()
        departure = self._store.release(room_id, self._node_id, user_id, 0.0)
        self._forget_room_without_sessions(room_id)
        return departure

    async def renew(self) -> Collection[RoomId]:
        """See the port."""
        self._raise_if_down()
        for room_id, members in self._store.members.items():
            for user_id, seat in list(members.items()):
                if self._node_id in seat.nodes and not self._held.sessions(room_id, user_id):
                    self._store.release(room_id, self._node_id, user_id, self._grace_s)
        for room_id in self._held.rooms():
            self._recovering(room_id)
            if (room_id, self._node_id) in self._store.lease_ends_at_s:
                self._renew_lease(room_id)
            else:
                self._lost.add(room_id)
        self._lost.intersection_update(self._held.rooms())
        return frozenset(self._lost)

    async def restore(self, room_id: RoomId, seats: Mapping[Identity, int]) -> int:
        """See the port."""
        self._put(room_id, seats)
        self._raise_if_down()
        self._recovering(room_id)
        for who in seats:
            self._hold(room_id, who)
        self._free_unheld_seats(room_id)
        self._lost.discard(room_id)
        return len(self._store.members[room_id])

    async def readmit(
        self, room_id: RoomId, seats: Mapping[Identity, int], *, max_members: int, owner_id: UserId | None
    ) -> Readmission:
        """See the port."""
        self._put(room_id, seats)
        self._raise_if_down()
        members = self._store.members[room_id]
        rest_s = self._recovering(room_id) - self._readmission_s
        if rest_s > 0:
            return Readmission("recovering", frozenset(), len(members), rest_s)
        self._reaped_before += self._store.reap(room_id, self._node_id)
        refused = set()
        for who in seats:
            if who.user_id in (*members, owner_id) or len(members) < max_members:
                self._hold(room_id, who)
            else:
                refused.add(who.user_id)
                self._held.drop(room_id, who.user_id)
        self._free_unheld_seats(room_id)
        self._lost.discard(room_id)
        return Readmission("readmitted", frozenset(refused), len(members))

    def held(self, room_id: RoomId) -> Mapping[Identity, int]:
        """See the port."""
        return self._held.in_room(room_id)

    async def sweep(self) -> list[Departure]:
        """See the port."""
        self._raise_if_down()
        for partition in range(keys.PARTITIONS):
            self._store.recovering_for_s(partition, self._recovering_s)
        reaped, self._reaped_before = self._reaped_before + self._store.reap(), []
        return [replace(gone, occupancy=len(self._store.members[gone.room_id])) for gone in reaped]

    async def count_address(self, whose: str, seats: int, *, kept_s: float) -> int:
        """See the port."""
        self._raise_if_down()
        now_s, records = self._store.clock(), self._store.address_seats[whose]
        records[self._node_id] = (seats, now_s + kept_s)
        others = (
            count for node_id, (count, ends_at_s) in records.items() if node_id != self._node_id and ends_at_s > now_s
        )
        return seats + sum(others)

    async def grant(self, room_id: RoomId, user_id: UserId) -> Grant | None:
        """See the port."""
        self._raise_if_down()
        return self._store.grants.get((room_id, user_id))

    async def recovering_for_s(self) -> float:
        """See the port."""
        self._raise_if_down()
        return max(self._store.recovering_for_s(partition, self._recovering_s) for partition in range(keys.PARTITIONS))

    async def release_node(self) -> None:
        """See the port."""
        self._raise_if_down()
        for room_id, members in self._store.members.items():
            for user_id, seat in list(members.items()):
                if self._node_id in seat.nodes:
                    self._store.release(room_id, self._node_id, user_id, self._grace_s)
            self._store.lease_ends_at_s.pop((room_id, self._node_id), None)
        self._held.clear()
        self._lost.clear()

    def _raise_if_down(self) -> None:
        if self._store.down:
            raise SeatsUnavailableError("switched off by the test")

    def _recovering(self, room_id: RoomId) -> float:
        return self._store.recovering_for_s(keys.partition_of(room_id), self._recovering_s)

    def _free_unheld_seats(self, room_id: RoomId) -> None:
        for user_id, seat in list(self._store.members[room_id].items()):
            if self._node_id in seat.nodes and not self._held.sessions(room_id, user_id):
                departure = self._store.release(room_id, self._node_id, user_id, 0.0)
                self._reaped_before += [departure] if departure.outcome == "gone" else []

    def _put(self, room_id: RoomId, seats: Mapping[Identity, int]) -> None:
        for who, sessions in seats.items():
            self._held.put(room_id, who, sessions)

    def _hold(self, room_id: RoomId, who: Identity) -> None:
        seat = self._store.members[room_id].setdefault(who.user_id, Seat(who.color))
        seat.nodes.add(self._node_id)
        seat.grace_ends_at_s = None
        self._renew_lease(room_id)

    def _renew_lease(self, room_id: RoomId) -> None:
        self._store.lease_ends_at_s[room_id, self._node_id] = self._store.clock() + self._lease_ttl_s

    def _forget_room_without_sessions(self, room_id: RoomId) -> None:
        if not any(self._node_id in seat.nodes for seat in self._store.members[room_id].values()):
            self._store.lease_ends_at_s.pop((room_id, self._node_id), None)
