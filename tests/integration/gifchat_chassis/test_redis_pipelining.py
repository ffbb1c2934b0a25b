"""Many commands on one connection: each gets its own reply, even if others fail or the connection breaks."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import hiredis
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

from gifchat_chassis.redis_pipelining import MAX_IN_FLIGHT, TIMEOUT_S, Pipelining
from gifchat_testkit.proxy import TcpProxy

pytestmark = pytest.mark.servers


@asynccontextmanager
async def pipelining_to(url: str) -> AsyncIterator[Pipelining]:
    async with Redis.from_url(url) as redis:
        pipelining = Pipelining(redis)
        yield pipelining
        pipelining.close()


@pytest.fixture
async def proxy(valkey: str) -> AsyncIterator[TcpProxy]:
    async with TcpProxy(urlsplit(valkey).port or 0) as proxy:
        yield proxy


@pytest.fixture
async def pipelining(proxy: TcpProxy) -> AsyncIterator[Pipelining]:
    async with pipelining_to(f"redis://127.0.0.1:{proxy.port}") as pipelining:
        yield pipelining


async def echo(pipelining: Pipelining, number: int, *, once: bool = False) -> int:
    return int(await pipelining.call("ECHO", number, once=once))


async def test_concurrent_commands_on_one_connection_get_their_own_replies(
    pipelining: Pipelining, proxy: TcpProxy
) -> None:
    numbers = range(MAX_IN_FLIGHT * 4)
    assert await asyncio.gather(*(echo(pipelining, number) for number in numbers)) == list(numbers)
    assert proxy.accepted == 1


async def test_the_number_of_commands_in_flight_is_limited(pipelining: Pipelining, proxy: TcpProxy) -> None:
    await echo(pipelining, 0)
    proxy.stall("down")
    before = proxy.forwarded_bytes["up"]
    asking = [asyncio.create_task(echo(pipelining, 7)) for _ in range(MAX_IN_FLIGHT * 2)]
    most = MAX_IN_FLIGHT * len(b"*2\r\n$4\r\nECHO\r\n$1\r\n7\r\n")
    async with asyncio.timeout(5.0):
        while proxy.forwarded_bytes["up"] - before < most:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert proxy.forwarded_bytes["up"] - before == most
    await proxy.heal()
    assert await asyncio.gather(*asking) == [7] * len(asking)


async def test_an_error_reply_goes_to_its_own_caller(pipelining: Pipelining) -> None:
    answers = await asyncio.gather(
        echo(pipelining, 1),
        pipelining.call("EVALSHA", "0" * 40, 0),
        echo(pipelining, 2),
        pipelining.call("HGET", "too few"),
        echo(pipelining, 3),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [int, NoScriptError, int, ResponseError, int]
    assert list(answers[::2]) == [1, 2, 3]


async def test_a_cancelled_command_does_not_shift_the_replies(pipelining: Pipelining, proxy: TcpProxy) -> None:
    await echo(pipelining, 0)
    proxy.delay(0.1)
    asking = [asyncio.create_task(echo(pipelining, number)) for number in range(MAX_IN_FLIGHT + 10)]
    await asyncio.sleep(0)
    for number in (1, 3, MAX_IN_FLIGHT + 1):
        asking[number].cancel()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    gone = [number for number, answer in enumerate(answers) if isinstance(answer, asyncio.CancelledError)]
    assert gone == [1, 3, MAX_IN_FLIGHT + 1]
    assert all(answer == number for number, answer in enumerate(answers) if number not in gone)


async def test_a_command_with_a_lost_reply_is_retried_once(pipelining: Pipelining, proxy: TcpProxy) -> None:
    await echo(pipelining, 0)
    proxy.stall("down")
    asking = [asyncio.create_task(echo(pipelining, number)) for number in range(20)]
    await asyncio.sleep(0.1)
    proxy.cut()
    await proxy.heal()
    assert await asyncio.gather(*asking) == list(range(20))
    assert proxy.accepted == 2


async def test_a_command_that_must_not_run_twice_is_not_retried(
    pipelining: Pipelining, proxy: TcpProxy, valkey: str
) -> None:
    async with Redis.from_url(valkey) as redis:
        await redis.delete("counted")
        await echo(pipelining, 0)
        proxy.stall("down")
        counting = asyncio.create_task(pipelining.call("INCR", "counted", once=True))
        while await redis.get("counted") is None:
            await asyncio.sleep(0.01)
        proxy.cut()
        await proxy.heal()
        with pytest.raises(RedisConnectionError):
            await counting
        assert await echo(pipelining, 1) == 1
        assert await redis.getdel("counted") == b"1"


async def test_an_unsent_command_is_sent_on_the_next_connection(pipelining: Pipelining, proxy: TcpProxy) -> None:
    await echo(pipelining, 0)
    proxy.stall()
    asking = [asyncio.create_task(echo(pipelining, number, once=True)) for number in range(MAX_IN_FLIGHT + 20)]
    await asyncio.sleep(0)
    proxy.cut()
    await proxy.heal()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(answer) for answer in answers[:MAX_IN_FLIGHT]] == [RedisConnectionError] * MAX_IN_FLIGHT
    assert answers[MAX_IN_FLIGHT:] == list(range(MAX_IN_FLIGHT, MAX_IN_FLIGHT + 20))


async def test_a_silent_server_is_an_error_until_it_answers_again(pipelining: Pipelining, proxy: TcpProxy) -> None:
    await echo(pipelining, 0)
    proxy.stall()
    began = time.monotonic()
    answers = await asyncio.gather(*(echo(pipelining, number) for number in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [RedisConnectionError] * 3
    assert TIMEOUT_S <= time.monotonic() - began < 2 * TIMEOUT_S + 1.5
    await proxy.heal()
    assert await echo(pipelining, 4) == 4


async def test_commands_are_not_sent_to_a_server_that_does_not_answer(
    pipelining: Pipelining, proxy: TcpProxy, valkey: str
) -> None:
    """Otherwise seat scripts would run while the lease renewals of the same node do not."""
    await echo(pipelining, 0)
    proxy.stall("down")
    async with Redis.from_url(valkey) as redis:
        await redis.delete("counted")
        for _ in range(2):
            with pytest.raises(RedisConnectionError):
                await pipelining.call("INCR", "counted")
        assert await redis.getdel("counted") == b"1", "only on the connection that had answered before"


async def test_a_slow_reply_may_take_long_while_others_arrive(pipelining: Pipelining, proxy: TcpProxy) -> None:
    proxy.delay(0.4)
    assert await echo(pipelining, 1) == 1
    began = time.monotonic()
    asking = []
    for number in range(8):
        asking.append(asyncio.create_task(echo(pipelining, number)))
        await asyncio.sleep(0.25)
    assert await asyncio.gather(*asking) == list(range(8))
    assert time.monotonic() - began > TIMEOUT_S, "the watchdog ran meanwhile"
    assert proxy.accepted == 1


async def test_a_refused_connection_is_an_error(pipelining: Pipelining, proxy: TcpProxy) -> None:
    await proxy.refuse()
    answers = await asyncio.gather(echo(pipelining, 1), echo(pipelining, 2), return_exceptions=True)
    assert [type(answer) for answer in answers] == [RedisConnectionError] * 2
    await proxy.heal()
    assert await echo(pipelining, 3) == 3


async def test_the_credentials_and_database_of_the_url_are_used(valkey: str) -> None:
    async with Redis.from_url(f"{valkey}/5") as redis:
        await redis.acl_setuser("pipe", enabled=True, passwords=["+sesame"], keys=["*"], commands=["+@all"])
        address = valkey.removeprefix("redis://")
        try:
            async with pipelining_to(f"redis://pipe:sesame@{address}/5") as pipelining:
                await pipelining.call("SET", "who", "pipe")
            assert await redis.getdel("who") == b"pipe"
            async with pipelining_to(f"redis://pipe:wrong@{address}/5") as pipelining:
                with pytest.raises(RedisConnectionError, match="WRONGPASS"):
                    await pipelining.call("PING")
        finally:
            await redis.acl_deluser("pipe")


async def test_a_closed_pipeline_can_be_used_again(pipelining: Pipelining) -> None:
    assert await echo(pipelining, 1) == 1
    pipelining.close()
    assert await echo(pipelining, 2) == 2


async def test_a_connection_that_breaks_at_once_does_not_shift_the_replies() -> None:
    """A starting server may do this: it answers the PING and then disconnects."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        requests = hiredis.Reader()
        hangs_up = connections % 2 == 1
        while data := await reader.read(65_536):
            requests.feed(data)
            while (request := requests.gets()) is not False:
                name, *arguments = request
                writer.write(b"+PONG\r\n" if name == b"PING" else b"$%d\r\n%b\r\n" % (len(arguments[0]), arguments[0]))
            if hangs_up:
                break
        writer.close()

    async with (
        await asyncio.start_server(serve, "127.0.0.1", 0) as server,
        pipelining_to(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}") as pipelining,
    ):
        for turn in range(20):
            numbers = range(turn * 10, turn * 10 + 7)
            assert await asyncio.gather(*(echo(pipelining, number) for number in numbers)) == list(numbers)
            pipelining.close()


async def test_no_caller_gets_anothers_reply_when_the_connection_breaks(
    pipelining: Pipelining, proxy: TcpProxy
) -> None:
    outcomes: Counter[str] = Counter()

    async def ask(number: int) -> None:
        for turn in range(150):
            mine = number * 1_000 + turn
            try:
                assert await echo(pipelining, mine) == mine
                outcomes["answered"] += 1
            except RedisConnectionError:
                outcomes["lost"] += 1
            if turn % 10 == number % 10:
                proxy.cut(reset=False)
            await asyncio.sleep(0)

    async with asyncio.timeout(30.0):
        await asyncio.gather(*(ask(number) for number in range(30)))
    assert outcomes["answered"] > outcomes["lost"]
    assert proxy.accepted > 50
