"""Connections to Redis: the pool, its timeouts, and the error for a lost connection."""

from collections.abc import Iterable
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

TIMEOUT_S = 1.0


def redis_client(url: str, *, max_connections: int) -> Redis:
    """Return a client that connects on first use.

    It retries once, in case a pooled connection was stale. More retries would keep a user waiting.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=max_connections,
        timeout=TIMEOUT_S,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 1),
    )
    pool.connection_class = telling_loss(pool.connection_class)
    return Redis.from_pool(pool)


def telling_loss(base: type[AbstractConnection]) -> type[AbstractConnection]:
    """Return a subclass of `base` that raises redis-py's `ConnectionError` for a write to a closed transport.

    uvloop raises `RuntimeError` in that case. Neither redis-py nor our adapters recognise that as a lost connection.
    """

    class TellingConnection(base):  # type: ignore[misc, valid-type]
        async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> Any:
            try:
                return await super().send_packed_command(command, check_health)
            except RuntimeError as error:
                raise RedisConnectionError(str(error)) from error

    return TellingConnection
