"""Publish ephemeral events with sharded pub/sub, in one attempt."""

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gifchat_chassis.redis_pipelining import Pipelining
from gifchat_contracts.codec import Frame, encode
from gifchat_realtime_gateway.ports import PublishFailedError


class RedisPublisher:
    """`ports.Publisher` on Redis or Valkey 7 and later."""

    def __init__(self, redis: Redis) -> None:
        """`redis` provides the address and the credentials. Its own connections are not used."""
        self._pipelining = Pipelining(redis)

    async def aclose(self) -> None:
        self._pipelining.close()

    async def publish(self, channel: str, frame: Frame) -> None:
        try:
            await self._pipelining.call("SPUBLISH", channel, encode(frame), once=True)
        except (RedisError, OSError) as error:
            raise PublishFailedError(str(error)) from error
