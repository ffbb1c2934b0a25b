"""When its Redis server stops, dies or drops a subscription, the feed notices, resubscribes and reports the gap."""

import asyncio
import contextlib
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from gifchat_chassis.background_tasks import cancel_until_done
from gifchat_cli.ports import free_port
from gifchat_cli.prerequisites import find_valkey_server
from gifchat_cli.servers.valkey import Valkey
from gifchat_contracts.codec import Frame, Kind
from gifchat_realtime_gateway.adapters.redis_feed import RedisFeed
from gifchat_realtime_gateway.adapters.redis_publisher import RedisPublisher
from gifchat_realtime_gateway.ports import FeedUnavailableError
from gifchat_realtime_gateway.use_cases.canary import Canary
from gifchat_testkit.feed_worlds import RecordingListener, running_feed
from gifchat_testkit.servers import running

pytestmark = pytest.mark.servers

ALWAYS, ROOM, OTHER_ROOM = "gifchat:{lobby}:events", "gifchat:{p01}:room", "gifchat:{p02}:other"
EVENT = Frame(Kind.EXIT, b'["exit",{}]')
NOTICED_S = 5.0
BACK_S = 2.5
"""The longest pause between two connection attempts, plus the attempt."""


class Server:
    """A Valkey server that a test can stop and start. It keeps its port."""

    def __init__(self, work_dir: Path) -> None:
        self._valkey = Valkey(find_valkey_server(), free_port(), work_dir)
        self._work_dir = work_dir
        self._running = ExitStack()
        self._pid = 0
        self.url = self._valkey.url

    def start(self) -> None:
        self._pid = self._running.enter_context(
            running("valkey", self._valkey.command(), self._work_dir, self._valkey.wait_until_ready)
        )

    def stop(self) -> None:
        self.resume()
        self._running.close()
        self._pid = 0

    def pause(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)

    def resume(self) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGCONT)


@pytest.fixture
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="gifchat-valkey-") as folder:
        server = Server(Path(folder))
        server.start()
        yield server
        server.stop()


class Node:
    """A feed like the gateway's, and a client that publishes."""

    def __init__(self, redis: Redis, feed: RedisFeed, heard: RecordingListener) -> None:
        self.redis, self.feed, self.heard = redis, feed, heard

    async def publish(self, channel: str) -> None:
        async with contextlib.aclosing(RedisPublisher(self.redis)) as publisher:
            await publisher.publish(channel, EVENT)

    async def wait_for_frames(self, *channels: str) -> None:
        for channel in channels:
            before = len(self.heard.on(channel))
            await self.publish(channel)
            await within(2, lambda channel=channel, before=before: len(self.heard.on(channel)) == before + 1)  # type: ignore[misc]


async def within(seconds: float, condition: Callable[[], bool]) -> float:
    """Wait for the condition. Returns the seconds that it took."""
    started_at_s = time.monotonic()
    while not condition():
        assert time.monotonic() - started_at_s < seconds, f"not within {seconds} s"
        await asyncio.sleep(0.01)
    return time.monotonic() - started_at_s


@asynccontextmanager
async def node_on(server: Server) -> AsyncIterator[Node]:
    heard = RecordingListener()
    async with (
        Redis.from_url(server.url, socket_timeout=1.0, socket_connect_timeout=1.0) as redis,
        running_feed(redis, heard, ALWAYS) as feed,
    ):
        await feed.subscribe(ROOM)
        await within(5, lambda: feed.hears)
        yield Node(redis, feed, heard)


@pytest.fixture
async def node(server: Server) -> AsyncIterator[Node]:
    async with node_on(server) as node:
        yield node


async def test_a_lost_connection_is_reopened_at_once(node: Node) -> None:
    for times in range(1, 6):
        await node.redis.client_kill_filter(_type="pubsub")
        await within(BACK_S, lambda times=times: len(node.heard.reconnected) == times)  # type: ignore[misc]
        assert set(node.heard.reconnected[-1]) == {ALWAYS, ROOM}
        await node.wait_for_frames(ALWAYS, ROOM)
    assert node.feed.hears
    assert len(await node.redis.client_list(_type="pubsub")) == 1, "the old connections are closed"


async def test_a_hung_server_is_noticed_and_the_feed_reconnects(server: Server, node: Node) -> None:
    server.pause()
    await within(NOTICED_S, lambda: not node.feed.hears)
    # Longer than several connection attempts.
    await asyncio.sleep(4)
    assert node.heard.reconnected == []
    server.resume()
    await within(BACK_S, lambda: len(node.heard.reconnected) == 1)
    assert set(node.heard.reconnected[0]) == {ALWAYS, ROOM}
    await node.wait_for_frames(ALWAYS, ROOM)


async def test_a_short_pause_of_the_server_loses_nothing(server: Server, node: Node) -> None:
    server.pause()
    await asyncio.sleep(2)
    server.resume()
    await node.wait_for_frames(ALWAYS, ROOM)
    await asyncio.sleep(3)
    assert node.heard.reconnected == []
    assert node.feed.hears


async def test_the_feed_reconnects_after_a_restart_of_the_server(server: Server, node: Node) -> None:
    server.stop()
    await within(NOTICED_S, lambda: not node.feed.hears)
    await asyncio.sleep(3)
    server.start()
    await within(BACK_S, lambda: len(node.heard.reconnected) == 1)
    await node.wait_for_frames(ALWAYS, ROOM)


async def test_a_subscription_waits_while_the_server_is_briefly_down(server: Server, node: Node) -> None:
    server.stop()
    await within(NOTICED_S, lambda: not node.feed.hears)
    subscribing = asyncio.create_task(node.feed.subscribe(OTHER_ROOM))
    await asyncio.sleep(0.3)
    server.start()
    await subscribing
    await node.wait_for_frames(ALWAYS, ROOM, OTHER_ROOM)


async def test_a_cancelled_subscription_does_not_delay_the_others(server: Server, node: Node) -> None:
    """The subscription gives up while the server is down, so the feed does not subscribe to it later."""
    server.stop()
    await within(NOTICED_S, lambda: not node.feed.hears)
    with pytest.raises(FeedUnavailableError):
        await node.feed.subscribe(OTHER_ROOM)
    server.start()
    await within(BACK_S, lambda: node.feed.hears)
    assert set(node.heard.reconnected[0]) == {ALWAYS, ROOM}
    await node.publish(OTHER_ROOM)
    await node.wait_for_frames(ALWAYS, ROOM)
    assert node.heard.on(OTHER_ROOM) == []


@pytest.mark.parametrize("credentials", [":pass%2Fword", "listener:secret"])
async def test_a_feed_names_its_redis_connections(server: Server, credentials: str) -> None:
    heard = RecordingListener()
    async with Redis.from_url(server.url) as admin:
        await admin.acl_setuser("listener", enabled=True, passwords=["+secret"], channels=["*"], categories=["+@all"])
        await admin.config_set("requirepass", "pass/word")
        url = server.url.replace("://", f"://{credentials}@")
        async with Redis.from_url(url) as redis, running_feed(redis, heard, ALWAYS) as feed:
            await within(BACK_S, lambda: feed.hears)
            who = credentials.partition(":")[0] or "default"
            assert [client["user"] for client in await admin.client_list(_type="pubsub")] == [who]


async def test_a_feed_that_redis_refuses_tries_again(server: Server) -> None:
    heard = RecordingListener()
    async with Redis.from_url(server.url) as admin:
        await admin.config_set("requirepass", "password")
        wrong = Redis.from_url(server.url.replace("://", "://:wrong@"))
        async with wrong, running_feed(wrong, heard, ALWAYS) as feed:
            with pytest.raises(FeedUnavailableError):
                await feed.subscribe(ROOM)
            await admin.config_set("requirepass", "wrong")
            await within(BACK_S, lambda: feed.hears)


def command(*words: str) -> bytes:
    return f"*{len(words)}\r\n".encode() + b"".join(f"${len(word)}\r\n{word}\r\n".encode() for word in words)


@asynccontextmanager
async def losing(url: str, lost: bytes) -> AsyncIterator[str]:
    """A proxy to the server that removes the bytes `lost` from what the client sends."""

    async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter, lost: bytes) -> None:
        with contextlib.closing(target):
            while data := await source.read(65_536):
                target.write(data.replace(lost, b"") if lost else data)

    async def connected(down_reader: asyncio.StreamReader, down: asyncio.StreamWriter) -> None:
        up_reader, up = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        await asyncio.gather(carry(down_reader, up, lost), carry(up_reader, down, b""), return_exceptions=True)

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as proxy:
        yield f"redis://127.0.0.1:{proxy.sockets[0].getsockname()[1]}/0"


async def test_unsubscribing_during_a_resubscription_does_not_delay_other_channels(server: Server) -> None:
    heard = RecordingListener()
    async with (
        losing(server.url, command("SSUBSCRIBE", OTHER_ROOM)) as url,
        Redis.from_url(url) as through,
        Redis.from_url(server.url) as redis,
        running_feed(through, heard, ALWAYS) as feed,
    ):
        await feed.subscribe(ROOM)
        subscribing = asyncio.create_task(feed.subscribe(OTHER_ROOM))
        await asyncio.sleep(0)
        await redis.client_kill_filter(_type="pubsub")
        with pytest.raises(FeedUnavailableError):
            await subscribing
        await within(BACK_S, lambda: feed.hears)
        assert [set(channels) for channels in heard.reconnected] == [{ALWAYS, ROOM}]
        await Node(redis, feed, heard).wait_for_frames(ALWAYS, ROOM)


async def test_a_subscription_lost_on_the_server_is_detected_and_restored(node: Node) -> None:
    canary = "gifchat:{n1}:canary"
    publisher = RedisPublisher(node.redis)
    watch = Canary(publisher, canary)
    handed_on = node.heard.on_data

    def on_data(channel: str, data: bytes) -> None:
        handed_on(channel, data)
        if channel == canary:
            watch.heard()

    node.heard.on_data = on_data  # type: ignore[method-assign]
    await node.feed.subscribe(canary)
    watching = asyncio.create_task(watch.run(on_deaf=node.feed.restart))
    try:
        await within(5, lambda: node.heard.on(canary) != [])
        assert node.feed._connection is not None
        node.feed._connection.send("SUNSUBSCRIBE")
        await within(NOTICED_S, lambda: watch.deaf)
        await within(BACK_S, lambda: len(node.heard.reconnected) == 1)
        await within(BACK_S, lambda: not watch.deaf)
        await node.wait_for_frames(ALWAYS, ROOM, canary)
    finally:
        await cancel_until_done(watching)
        await publisher.aclose()
