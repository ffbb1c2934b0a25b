"""A connection to Redis that was lost shows as lost, whichever event loop carries it."""

from collections.abc import Iterable
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError


def telling_loss(base: type[AbstractConnection]) -> type[AbstractConnection]:
    """`base`, with redis-py's `ConnectionError` where uvloop has another word for it.

    On a transport that was closed since, uvloop raises `RuntimeError`: neither redis-py's retries nor anybody who
    waits for Redis would take that for a lost connection.
    """

    class Connection(base):  # type: ignore[misc, valid-type]
        async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> Any:
            try:
                return await super().send_packed_command(command, check_health)
            except RuntimeError as error:
                raise RedisConnectionError(str(error)) from error

    return Connection
