"""Reads the seats that the gateways keep in Redis; never writes them (see `gifchat_contracts.keys`)."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gifchat_chassis.redis_pipelining import Pipelining
from gifchat_contracts import keys
from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.ports import Member, MembersPage, OccupancySnapshot, OccupancyUnavailableError, RoomOccupancy

SEEN_S = 1.0
"""A seat that was found is not looked up again for this long. The default graces are longer."""
MAX_SEEN = 10_000


class RedisOccupancy:
    """`ports.Occupancy` on Redis or Valkey."""

    def __init__(self, redis: Redis, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._clock_s = clock_s
        # Every message asks for a seat, and a command of redis-py costs several times as much.
        self._line = Pipelining(redis)
        self._seen: dict[tuple[RoomId, UserId], float] = {}
        """When each seat was last found, oldest first."""

    async def members(self, room_ids: Collection[RoomId]) -> Mapping[RoomId, int]:
        by_partition: dict[int, list[RoomId]] = defaultdict(list)
        for room_id in room_ids:
            by_partition[keys.partition_of(room_id)].append(room_id)
        if not by_partition:
            return {}
        with _redis_errors():
            pipeline = self._redis.pipeline(transaction=False)
            for partition, rooms in by_partition.items():
                pipeline.zmscore(keys.occupancy(partition), list(rooms))
            replies = await pipeline.execute()
        return {
            room_id: int(score or 0)
            for rooms, scores in zip(by_partition.values(), replies, strict=True)
            for room_id, score in zip(rooms, scores, strict=True)
        }

    async def seated(self, room_id: RoomId, user_id: UserId) -> bool:
        now_s = self._clock_s()
        while self._seen and (oldest := next(iter(self._seen.items())))[1] < now_s - SEEN_S:
            del self._seen[oldest[0]]
        # Look-ups that overlap may leave the order inexact, so the entry's own time decides.
        if now_s - self._seen.get((room_id, user_id), -math.inf) <= SEEN_S:
            return True
        with _redis_errors():
            seated = bool(await self._line.call("HEXISTS", keys.members(room_id), user_id))
        if seated and len(self._seen) < MAX_SEEN:
            self._seen[room_id, user_id] = now_s
        return seated

    def close(self) -> None:
        """Close the connection that looks up seats."""
        self._line.close()

    async def for_user(self, room_id: RoomId, user_id: UserId) -> RoomOccupancy:
        with _redis_errors():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.hlen(keys.members(room_id))
            pipeline.hexists(keys.members(room_id), user_id)
            # Read after the seats, so that a partition emptied in between shows as unsettled.
            pipeline.get(keys.generation(keys.partition_of(room_id)))
            pipeline.time()
            members, seated, generation, time = await pipeline.execute()
        return RoomOccupancy(int(members), seated=bool(seated), settled=_settled(generation, _ms(time)))

    async def page(self, room_id: RoomId, cursor: int, limit: int) -> MembersPage:
        with _redis_errors():
            found: Any = await self._redis.hscan(keys.members(room_id), cursor, count=limit)
        next_cursor, seats = found
        return MembersPage([_member(_text(user_id), _text(seat)) for user_id, seat in seats.items()], int(next_cursor))

    async def snapshot(self) -> OccupancySnapshot:
        with _redis_errors():
            now_ms = await self._now_ms()
            pipeline = self._redis.pipeline(transaction=False)
            for partition in range(keys.PARTITIONS):
                pipeline.zrange(keys.occupancy(partition), 0, -1, withscores=True)
                # Read after the members, so that a partition emptied in between shows as unsettled.
                pipeline.get(keys.generation(partition))
            replies = await pipeline.execute()
        members = {RoomId(_text(room)): int(score) for scores in replies[::2] for room, score in scores}
        settled = frozenset(
            partition for partition, generation in enumerate(replies[1::2]) if _settled(generation, now_ms)
        )
        return OccupancySnapshot(members, settled)

    async def certainly_empty(self, room_id: RoomId) -> bool:
        with _redis_errors():
            now_ms = await self._now_ms()
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.hlen(keys.members(room_id))
            pipeline.get(keys.generation(keys.partition_of(room_id)))
            members, generation = await pipeline.execute()
        return int(members) == 0 and _settled(generation, now_ms)

    async def _now_ms(self) -> int:
        return _ms(await self._redis.time())


def _ms(time: tuple[int, int]) -> int:
    """Return the milliseconds of a reply to TIME."""
    seconds, microseconds = time
    return int(seconds) * 1000 + int(microseconds) // 1000


def _settled(generation: object, now_ms: int) -> bool:
    """Return whether the partition's recovery time is over. A missing marker means that Redis came back empty."""
    return generation is not None and int(_text(generation)) <= now_ms


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _member(user_id: str, seat: str) -> Member:
    nodes, _, color = seat.partition("|")
    return Member(UserId(user_id), color, connected=int(nodes) > 0)


@contextmanager
def _redis_errors() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise OccupancyUnavailableError(str(error)) from error
