"""A closed connection to Redis, on the event loop that the service uses."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from gifchat_rooms_api.adapters.redis_connection import telling_loss
from gifchat_testkit.proxy import TcpProxy

pytestmark = pytest.mark.servers


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1].split("/", maxsplit=1)[0])


@pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def test_a_lost_connection_is_replaced(valkey: str, loop: Callable[[], Any]) -> None:
    async def use() -> None:
        async with TcpProxy(port_of(valkey)) as proxy:
            url = f"redis://127.0.0.1:{proxy.port}/0"
            pool = ConnectionPool.from_url(url, socket_timeout=1.0, retry=Retry(NoBackoff(), 1))
            pool.connection_class = telling_loss(pool.connection_class)
            connection: Any = pool.make_connection()  # type: ignore[no-untyped-call]
            await connection.connect()
            connection._writer.transport.abort()
            await asyncio.sleep(0)
            with pytest.raises(RedisConnectionError):
                await connection.send_command("PING")
            async with Redis.from_pool(pool) as redis:
                for _ in range(20):
                    assert await redis.ping()
                    proxy.cut()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(use())
