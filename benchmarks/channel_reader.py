"""What does it cost to read a message from a room's channel, for each reader and event loop?

Run it alone: `python -m benchmarks.channel_reader`. It prints the table of docs/adr/0015-our-own-channel-reader.md.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

import uvloop
from redis.asyncio import Redis

from gifchat_cli.ports import free_port
from gifchat_cli.prerequisites import find_valkey_server
from gifchat_cli.servers.valkey import Valkey
from gifchat_realtime_gateway.adapters.redis_feed import RedisFeed
from gifchat_testkit.servers import running

ROUNDS, MESSAGES, PER_SECOND = 5, 12_000, 4_000
CHANNEL = "gifchat:{p00}:room:0123456789abcdef01234567:events"
BODY = b"x" * 250
LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


class Count:
    """Counts messages; `all_came` is done when all have arrived."""

    def __init__(self) -> None:
        self.all_came = asyncio.get_running_loop().create_future()
        self._left = MESSAGES

    def on_data(self, _channel: str, _data: bytes) -> None:
        self._left -= 1
        if not self._left:
            self.all_came.set_result(None)

    def on_reconnected(self, _channels: Collection[str]) -> None:
        pass


async def ours(redis: Redis, count: Count, ready: Callable[[], None]) -> None:
    feed = RedisFeed(redis.connection_pool.make_connection, count)
    running_feed = asyncio.create_task(feed.run())
    await feed.subscribe(CHANNEL)
    ready()
    await count.all_came
    running_feed.cancel()


async def redis_py(redis: Redis, count: Count, ready: Callable[[], None]) -> None:
    connection = redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    await connection.connect()
    await connection.send_command("SSUBSCRIBE", CHANNEL)
    await connection.read_response(push_request=True)
    ready()
    while not count.all_came.done():
        # Without a timeout the reader would not notice that the server is down.
        reply = await connection.read_response(
            disable_decoding=True, timeout=1.5, disconnect_on_error=False, push_request=True
        )
        count.on_data(reply[1].decode(), reply[2])
    await connection.disconnect()


READERS: dict[str, Callable[[Redis, Count, Callable[[], None]], Awaitable[None]]] = {"ours": ours, "redis-py": redis_py}


async def read(reader: str, url: str) -> None:
    began_s = 0.0

    def ready() -> None:
        nonlocal began_s
        began_s = time.process_time()
        print("ready", flush=True)

    async with Redis.from_url(url) as redis:
        await READERS[reader](redis, Count(), ready)
    print((time.process_time() - began_s) / MESSAGES * 1e6)


def publish(url: str) -> None:
    """Publish one message after the other at a steady pace."""

    async def publish_all() -> None:
        async with Redis.from_url(url) as redis:
            began_s = time.monotonic()
            for number in range(MESSAGES):
                await asyncio.sleep(max(0.0, began_s + number / PER_SECOND - time.monotonic()))
                await redis.spublish(CHANNEL, BODY)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(publish_all())


def microseconds(reader: str, loop: str, url: str) -> float:
    command = [sys.executable, "-m", "benchmarks.channel_reader", reader, loop, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        publish(url)
        return float(process.stdout.readline())


def main() -> None:
    times: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="gifchat-bench-") as folder:
        valkey = Valkey(find_valkey_server(), free_port(), Path(folder))
        with running("valkey", valkey.command(), Path(folder), valkey.wait_until_ready):
            for _ in range(ROUNDS):
                for loop in LOOPS:
                    for reader in READERS:
                        times.setdefault((reader, loop), []).append(microseconds(reader, loop, valkey.url))
    print("| reader | loop | µs of CPU per message |")
    print("| --- | --- | --- |")
    for (reader, loop), each in sorted(times.items()):
        print(f"| {reader} | {loop} | {statistics.median(each):.1f} ({min(each):.1f}–{max(each):.1f}) |")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        with asyncio.Runner(loop_factory=LOOPS[sys.argv[2]]) as runner:
            runner.run(read(sys.argv[1], sys.argv[3]))
    else:
        main()
