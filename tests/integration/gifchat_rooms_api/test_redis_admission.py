"""Grants and token buckets in Redis: expiry, and behaviour without Redis."""

from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis

from gifchat_contracts import keys
from gifchat_contracts.grants import Grant
from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.adapters.redis_admission import LocalRateLimits, RedisGrants, RedisRateLimits
from gifchat_rooms_api.ports import AdmissionUnavailableError, Rate

pytestmark = pytest.mark.servers

ROOM, ANNE, BOB = RoomId("65f0c0ffee0123456789abcd"), UserId("a" * 24), UserId("b" * 24)
GRANT = Grant(1, datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC))
RATE = Rate("test", burst=2, refill_s=30.0)
NOWHERE = "redis://127.0.0.1:1/0"


async def test_a_grant_is_for_one_user_and_room(valkey: str) -> None:
    async with Redis.from_url(valkey) as redis:
        grants = RedisGrants(redis)
        assert await grants.get(ROOM, ANNE) is None
        await grants.remember(ROOM, ANNE, GRANT)
        assert await grants.get(ROOM, ANNE) == GRANT
        assert await grants.get(ROOM, BOB) is None
        assert await grants.get(RoomId("0" * 24), ANNE) is None


async def test_a_bucket_expires_once_it_is_full_again(valkey: str) -> None:
    async with Redis.from_url(valkey) as redis:
        await RedisRateLimits(redis, LocalRateLimits()).take(RATE, "anne")
        assert 25_000 < await redis.pttl(keys.rate_limit("test", "anne")) <= 31_000


async def test_two_replicas_share_a_bucket(valkey: str) -> None:
    async with Redis.from_url(valkey) as one, Redis.from_url(valkey) as other:
        replicas = [RedisRateLimits(redis, LocalRateLimits()) for redis in (one, other)]
        assert [await replica.take(RATE, "anne") for replica in replicas] == [0.0, 0.0]
        assert all([await replica.take(RATE, "anne") > 0.0 for replica in replicas])


async def test_grants_are_unavailable_and_limits_local_without_redis() -> None:
    async with Redis.from_url(NOWHERE) as redis:
        grants, limits = RedisGrants(redis), RedisRateLimits(redis, LocalRateLimits())
        with pytest.raises(AdmissionUnavailableError):
            await grants.get(ROOM, ANNE)
        with pytest.raises(AdmissionUnavailableError):
            await grants.remember(ROOM, ANNE, GRANT)
        assert [await limits.take(RATE, "anne") > 0.0 for _ in range(3)] == [False, False, True]


async def test_local_buckets_are_bounded_and_the_oldest_is_evicted() -> None:
    limits = LocalRateLimits(clock=lambda: 0.0, max_buckets=2)
    once = Rate("test", burst=1, refill_s=1.0)
    for subject in ("anne", "bob", "carol"):
        await limits.take(once, subject)
    assert await limits.take(once, "carol") > 0.0
    assert await limits.take(once, "anne") == 0.0, "evicted, so full again"
