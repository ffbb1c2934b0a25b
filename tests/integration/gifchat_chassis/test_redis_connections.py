"""A Redis connection that the network has closed, on uvloop like the service."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from redis.exceptions import ConnectionError as RedisConnectionError

from gifchat_chassis.redis_connections import redis_client
from gifchat_testkit.proxy import TcpProxy

pytestmark = pytest.mark.servers


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1].split("/", maxsplit=1)[0])


@pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def test_a_closed_connection_is_reported_as_lost_and_replaced(valkey: str, loop: Callable[[], Any]) -> None:
    async def use() -> None:
        async with TcpProxy(port_of(valkey)) as proxy:
            redis = redis_client(f"redis://127.0.0.1:{proxy.port}/0", max_connections=4)
            connection: Any = redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
            await connection.connect()
            connection._writer.transport.abort()
            await asyncio.sleep(0)
            with pytest.raises(RedisConnectionError):
                await connection.send_command("PING")
            async with redis:
                for _ in range(20):
                    assert await redis.ping()
                    proxy.cut()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(use())
