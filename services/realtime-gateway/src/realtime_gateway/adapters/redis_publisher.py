"""Publishing ephemeral events: sharded pub/sub, one try."""

from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime_gateway.ports import PublishFailed
from room_contracts.codec import Frame, encode


class RedisPublisher:
    """`ports.Publisher` on Redis or Valkey 7 and later."""

    def __init__(self, redis: Redis) -> None:
        """`redis` needs a `socket_timeout`: a server that has stopped answering must show as an error."""
        self._redis = redis

    async def publish(self, channel: str, frame: Frame) -> None:
        """See `ports.Publisher`."""
        try:
            await self._redis.spublish(channel, encode(frame))
        except (RedisError, OSError) as error:
            raise PublishFailed(str(error)) from error
