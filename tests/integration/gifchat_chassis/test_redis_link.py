"""The gateway's connection to Redis, on a real server."""

import asyncio
from typing import Any

import hiredis
import pytest
from redis.asyncio import ConnectionPool

from gifchat_chassis.redis_link import connect
from gifchat_cli.ports import free_port

pytestmark = pytest.mark.servers


def server_of(url: str) -> Any:
    return ConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call]


async def test_all_replies_and_errors_arrive_in_order(valkey: str) -> None:
    replies: asyncio.Queue[Any] = asyncio.Queue()
    link = await connect(server_of(valkey), replies.put_nowait)
    link.send("ECHO", "one")
    link.send("NO-SUCH-COMMAND")
    link.send("ECHO", b"two")
    async with asyncio.timeout(10):
        got = [await replies.get() for _ in range(3)]
    assert (got[0], got[2]) == (b"one", b"two")
    assert isinstance(got[1], hiredis.ReplyError)
    link.fail("done")


async def test_a_lost_link_says_why_and_sends_nothing(valkey: str) -> None:
    replies: list[Any] = []
    link = await connect(server_of(valkey), replies.append)
    link.send("QUIT")
    async with asyncio.timeout(10):
        assert "closed by the server" in str(await link.lost)
    link.send("PING")
    assert replies == [b"OK"]


async def test_a_link_uses_the_database_and_credentials_of_the_url(valkey: str) -> None:
    replies: asyncio.Queue[Any] = asyncio.Queue()
    link = await connect(server_of(valkey.rsplit("/", 1)[0] + "/3"), replies.put_nowait)
    link.send("CLIENT", "INFO")
    async with asyncio.timeout(10):
        assert b" db=3 " in await replies.get()
    link.fail("done")
    with pytest.raises(ConnectionRefusedError):
        await connect(server_of(valkey.replace("redis://", "redis://nobody:wrong@")), replies.put_nowait)


async def test_an_unreachable_server_is_an_os_error() -> None:
    with pytest.raises(OSError, match=r".+"):
        await connect(server_of(f"redis://127.0.0.1:{free_port()}/0"), print)
