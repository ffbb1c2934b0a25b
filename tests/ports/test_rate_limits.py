"""`gifchat_rooms_api.ports.RateLimits`: one suite for local buckets and for buckets in Redis."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from gifchat_rooms_api.adapters.redis_admission import LocalRateLimits, RedisRateLimits
from gifchat_rooms_api.ports import Rate, RateLimits

SLOW = Rate("test-slow", burst=3, refill_s=60.0)
QUICK = Rate("test-quick", burst=2, refill_s=0.05)


@pytest.fixture(params=["local", pytest.param("redis", marks=pytest.mark.servers)])
async def limits(request: pytest.FixtureRequest) -> AsyncIterator[RateLimits]:
    if request.param == "local":
        yield LocalRateLimits()
        return
    async with Redis.from_url(request.getfixturevalue("valkey"), socket_timeout=1.0) as redis:
        yield RedisRateLimits(redis, LocalRateLimits())


async def test_a_burst_is_allowed_and_then_the_wait_is_returned(limits: RateLimits) -> None:
    assert [await limits.take(SLOW, "anne") for _ in range(3)] == [0.0] * 3
    wait_s = await limits.take(SLOW, "anne")
    assert 55.0 < wait_s <= 60.0
    assert 0 < await limits.take(SLOW, "anne") <= wait_s, "asking too early does not prolong the wait"


async def test_every_subject_has_a_bucket_per_rate(limits: RateLimits) -> None:
    other = Rate("test-other", burst=1, refill_s=60.0)
    for _ in range(4):
        await limits.take(SLOW, "anne")
    assert await limits.take(SLOW, "bob") == 0.0
    assert await limits.take(other, "anne") == 0.0
    assert await limits.take(other, "anne") > 0.0


async def test_a_bucket_refills_over_time(limits: RateLimits) -> None:
    while await limits.take(QUICK, "anne") == 0.0:
        pass
    async with asyncio.timeout(10):
        while await limits.take(QUICK, "anne") > 0.0:
            await asyncio.sleep(0.005)


async def test_concurrent_requests_get_no_more_than_the_burst(limits: RateLimits) -> None:
    waits = await asyncio.gather(*(limits.take(SLOW, "anne") for _ in range(30)))
    assert waits.count(0.0) == 3


async def test_several_tokens_are_taken_together_or_not_at_all(limits: RateLimits) -> None:
    rate = Rate("test-large", burst=10, refill_s=60.0)
    assert await limits.take(rate, "anne", 7) == 0.0
    assert 55.0 < await limits.take(rate, "anne", 4) <= 60.0, "one is missing"
    assert await limits.take(rate, "anne", 3) == 0.0
    assert await limits.take(rate, "bob", 1_000) == 0.0, "more than the burst counts as the burst"
    assert await limits.take(rate, "bob") > 0.0
