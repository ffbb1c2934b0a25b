"""Publishing ephemeral events: sharded pub/sub, one try."""

import asyncio

from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime_gateway.ports import PublishFailed
from room_contracts.codec import Frame, encode

CALLS_AT_ONCE = 32
"""More wait, in order: a pool of connections that is used up raises."""


class RedisPublisher:
    """`ports.Publisher` on Redis or Valkey 7 and later."""

    def __init__(self, redis: Redis) -> None:
        """`redis` needs a `socket_timeout`: a server that has stopped answering must show as an error."""
        self._redis = redis
        self._calls = asyncio.Semaphore(CALLS_AT_ONCE)

    async def publish(self, channel: str, frame: Frame) -> None:
        """See `ports.Publisher`."""
        async with self._calls:
            try:
                await self._redis.spublish(channel, encode(frame))
            except (RedisError, OSError) as error:
                raise PublishFailed(str(error)) from error
