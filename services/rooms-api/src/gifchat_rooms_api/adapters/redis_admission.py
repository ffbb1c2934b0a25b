"""Grants and token buckets in Redis, and token buckets in this process."""

import time
from collections import OrderedDict
from collections.abc import Callable
from importlib.resources import files

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gifchat_contracts import keys, limits
from gifchat_contracts.grants import Grant
from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.domain.token_bucket import TokenBucket
from gifchat_rooms_api.ports import AdmissionUnavailableError, Rate

MAX_LOCAL_BUCKETS = 10_000

_log = structlog.get_logger(__name__)


class RedisGrants:
    """`ports.Grants` on Redis or Valkey."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def remember(self, room_id: RoomId, user_id: UserId, grant: Grant) -> None:
        try:
            await self._redis.set(keys.grant(room_id, user_id), grant.encode(), ex=limits.GRANT_TTL_S)
        except (RedisError, OSError) as error:
            raise AdmissionUnavailableError(str(error)) from error

    async def get(self, room_id: RoomId, user_id: UserId) -> Grant | None:
        try:
            granted = await self._redis.get(keys.grant(room_id, user_id))
        except (RedisError, OSError) as error:
            raise AdmissionUnavailableError(str(error)) from error
        return None if granted is None else Grant.decode(granted)


class LocalRateLimits:
    """`ports.RateLimits` for this process only."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, max_buckets: int = MAX_LOCAL_BUCKETS) -> None:
        self._clock = clock
        self._max_buckets = max_buckets
        self._buckets: OrderedDict[tuple[str, str], TokenBucket] = OrderedDict()

    async def take(self, rate: Rate, subject: str, tokens: int = 1) -> float:
        now_s = self._clock()
        before = self._buckets.pop((rate.name, subject), TokenBucket(rate.burst, now_s))
        self._buckets[rate.name, subject], wait_s = before.take(rate.burst, rate.refill_s, now_s, tokens)
        if len(self._buckets) > self._max_buckets:
            self._buckets.popitem(last=False)
        return wait_s


class RedisRateLimits:
    """`ports.RateLimits` on Redis or Valkey; falls back to `LocalRateLimits` while Redis is down."""

    def __init__(self, redis: Redis, local: LocalRateLimits) -> None:
        self._take = redis.register_script(
            (files("gifchat_rooms_api.adapters") / "lua" / "take_token.lua").read_text(encoding="utf-8")
        )
        self._local = local

    async def take(self, rate: Rate, subject: str, tokens: int = 1) -> float:
        try:
            wait_ms = await self._take(
                keys=[keys.rate_limit(rate.name, subject)],
                args=[rate.burst, round(rate.refill_s * 1000), min(tokens, rate.burst)],
            )
        except (RedisError, OSError) as error:
            _log.warning("rate_limit_is_local", rate=rate.name, error=str(error))
            return await self._local.take(rate, subject, tokens)
        return int(wait_ms) / 1000
