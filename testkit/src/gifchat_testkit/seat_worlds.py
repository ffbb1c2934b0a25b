"""Seats of a whole cluster, in memory or on a real server, with a clock that the test controls.

The same suite runs on both, and a stateful test compares them step by step.
"""

from dataclasses import dataclass, field
from typing import Protocol

from redis.asyncio import Redis

from gifchat_contracts import keys
from gifchat_contracts.grants import Grant
from gifchat_contracts.ids import NodeId, RoomId, UserId
from gifchat_realtime_gateway.adapters.redis_seats import RedisSeats
from gifchat_realtime_gateway.ports import Seats
from gifchat_testkit.fakes.seats import FakeSeats, SeatStore

LEASE_TTL_S, GRACE_S, RECOVERING_S, READMISSION_S = 1_000.0, 1_000.0, 1_100.0, 50.0
"""Long enough that nothing expires by itself."""
GUEST_GRACE_S = 0.0


@dataclass(frozen=True, slots=True)
class Registered:
    """The stored state of one room."""

    members: dict[UserId, str]
    """`<nodes>|<colour>` by user."""
    occupancy: int | None
    leases: set[str]
    """The nodes with a lease for the room."""
    graces: set[str]
    """The users in their grace period."""


class SeatWorld(Protocol):
    """All nodes of a cluster. Time changes take effect at a node's next call."""

    def node(self, name: str) -> Seats:
        """Return the node with this name; the first call starts it."""

    async def expire_leases(self, name: str) -> None:
        """Expire all leases of the node."""

    async def expire_graces(self) -> None:
        """Expire all grace periods."""

    async def flush(self) -> None:
        """Restart the server empty."""

    async def allow_readmission(self) -> None:
        """Advance the recovery until late nodes can readmit their members."""

    async def end_recovery(self) -> None:
        """End the recovery of all partitions."""

    async def grant(self, room_id: RoomId, user_id: UserId, grant: Grant) -> None:
        """Record that the user gave the room's password."""

    async def registered(self, room_id: RoomId) -> Registered:
        """Return the stored state of a room."""


@dataclass
class FakeSeatWorld:
    """Seats in memory."""

    store: SeatStore = field(default_factory=lambda: SeatStore(lambda: 1_000.0))
    nodes: dict[str, FakeSeats] = field(default_factory=dict)

    def node(self, name: str) -> FakeSeats:
        """See `SeatWorld`."""
        if name not in self.nodes:
            self.nodes[name] = FakeSeats(
                self.store,
                NodeId(name),
                LEASE_TTL_S,
                GRACE_S,
                RECOVERING_S,
                readmission_s=READMISSION_S,
                guest_grace_s=GUEST_GRACE_S,
            )
        return self.nodes[name]

    async def expire_leases(self, name: str) -> None:
        """See `SeatWorld`."""
        for lease in self.store.lease_ends_at_s:
            if lease[1] == name:
                self.store.lease_ends_at_s[lease] = 1.0

    async def expire_graces(self) -> None:
        """See `SeatWorld`."""
        for members in self.store.members.values():
            for seat in members.values():
                if seat.grace_ends_at_s is not None:
                    seat.grace_ends_at_s = 1.0

    async def flush(self) -> None:
        """See `SeatWorld`."""
        self.store.flush()

    async def allow_readmission(self) -> None:
        """See `SeatWorld`."""
        near_s = self.store.clock() + READMISSION_S - 1
        self.store.recovered_at_s = dict.fromkeys(range(keys.PARTITIONS), near_s)

    async def end_recovery(self) -> None:
        """See `SeatWorld`."""
        self.store.recovered_at_s = dict.fromkeys(range(keys.PARTITIONS), 0.0)

    async def grant(self, room_id: RoomId, user_id: UserId, grant: Grant) -> None:
        """See `SeatWorld`."""
        self.store.grants[room_id, user_id] = grant

    async def registered(self, room_id: RoomId) -> Registered:
        """See `SeatWorld`."""
        members = {user_id: f"{len(seat.nodes)}|{seat.color}" for user_id, seat in self.store.members[room_id].items()}
        leases: set[str] = {node_id for leased, node_id in self.store.lease_ends_at_s if leased == room_id}
        graces: set[str] = {
            user_id for user_id, seat in self.store.members[room_id].items() if seat.grace_ends_at_s is not None
        }
        return Registered(members, len(members) or None, leases, graces)


@dataclass
class RedisSeatWorld:
    """Seats on a real server."""

    redis: Redis
    nodes: dict[str, RedisSeats] = field(default_factory=dict)

    def node(self, name: str) -> RedisSeats:
        """See `SeatWorld`."""
        if name not in self.nodes:
            self.nodes[name] = RedisSeats(
                self.redis,
                NodeId(name),
                LEASE_TTL_S,
                GRACE_S,
                RECOVERING_S,
                readmission_s=READMISSION_S,
                guest_grace_s=GUEST_GRACE_S,
            )
        return self.nodes[name]

    async def aclose(self) -> None:
        """Close the nodes' connections."""
        for node in self.nodes.values():
            await node.aclose()

    async def expire_leases(self, name: str) -> None:
        """See `SeatWorld`."""
        await self._expire([keys.leases(partition) for partition in range(keys.PARTITIONS)], f"|{name}")

    async def expire_graces(self) -> None:
        """See `SeatWorld`."""
        await self._expire([keys.grace(partition) for partition in range(keys.PARTITIONS)], "")

    async def flush(self) -> None:
        """See `SeatWorld`."""
        await self.redis.flushall()

    async def allow_readmission(self) -> None:
        """See `SeatWorld`."""
        seconds, microseconds = await self.redis.time()
        near_ms = int((seconds + microseconds / 1e6 + READMISSION_S - 1) * 1000)
        await self.redis.mset({keys.generation(partition): near_ms for partition in range(keys.PARTITIONS)})

    async def end_recovery(self) -> None:
        """See `SeatWorld`."""
        await self.redis.mset({keys.generation(partition): "0" for partition in range(keys.PARTITIONS)})

    async def grant(self, room_id: RoomId, user_id: UserId, grant: Grant) -> None:
        """See `SeatWorld`."""
        await self.redis.set(keys.grant(room_id, user_id), grant.encode())

    async def registered(self, room_id: RoomId) -> Registered:
        """See `SeatWorld`."""
        partition = keys.partition_of(room_id)
        members = await self.redis.hgetall(keys.members(room_id))
        occupancy = await self.redis.zscore(keys.occupancy(partition), room_id)
        return Registered(
            {UserId(_text(user_id)): _text(seat) for user_id, seat in members.items()},
            None if occupancy is None else int(occupancy),
            await self._of_room(room_id, keys.leases(partition)),
            await self._of_room(room_id, keys.grace(partition)),
        )

    async def _of_room(self, room_id: RoomId, key: str) -> set[str]:
        entries = [_text(entry).split("|") for entry in await self.redis.zrange(key, 0, -1)]
        return {whose for where, whose in entries if where == room_id}

    async def _expire(self, names: list[str], ending: str) -> None:
        async with self.redis.pipeline(transaction=False) as pipeline:
            for key in names:
                pipeline.zrange(key, 0, -1)
            for key, entries in zip(names, await pipeline.execute(), strict=True):
                for entry in entries:
                    if _text(entry).endswith(ending):
                        pipeline.zadd(key, {entry: 1})
            await pipeline.execute()


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
