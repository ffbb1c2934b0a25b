"""Channels in memory or on a real server, and their listeners. The same suite runs on both."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from redis.asyncio import Redis

from gifchat_chassis.background_tasks import cancel_until_done
from gifchat_realtime_gateway.adapters.redis_feed import RedisFeed
from gifchat_realtime_gateway.adapters.redis_publisher import RedisPublisher
from gifchat_realtime_gateway.ports import Feed, Publisher
from gifchat_testkit.fakes.feed import Channels, FakeFeed, FakePublisher

DEADLINE_S = 10.0


@dataclass
class RecordingListener:
    """A listener that records what a feed delivers."""

    data: list[tuple[str, bytes]] = field(default_factory=list)
    reconnected: list[Collection[str]] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def on_data(self, channel: str, data: bytes) -> None:
        """See `ports.FeedListener`."""
        self.data.append((channel, data))
        self._changed.set()

    def on_reconnected(self, channels: Collection[str]) -> None:
        """See `ports.FeedListener`."""
        self.reconnected.append(channels)

    def on(self, channel: str) -> list[bytes]:
        """Return what arrived on a channel."""
        return [data for heard_on, data in self.data if heard_on == channel]

    async def until(self, channel: str, *expected: bytes) -> None:
        """Wait until exactly `expected` has arrived on the channel.

        Raises:
            AssertionError: something else arrived, or it took too long.
        """
        try:
            async with asyncio.timeout(DEADLINE_S):
                while expected[-1] not in self.on(channel):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"received on {channel}: {self.on(channel)}") from None
        assert self.on(channel) == list(expected)


@dataclass(frozen=True, slots=True)
class Listener:
    """A feed and its listener."""

    feed: Feed
    heard: RecordingListener


class FeedWorld(Protocol):
    """An implementation of channels."""

    @property
    def publisher(self) -> Publisher:
        """The publisher for the channels."""

    async def listener(self, *always: str) -> Listener:
        """Run a feed that always listens to `always`."""

    async def deaf_listener(self) -> Listener:
        """Run a feed that cannot reach the channels."""

    async def cut(self) -> None:
        """Make every feed lose its connection; it can reconnect at once."""


class FakeFeedWorld:
    """Channels in memory."""

    def __init__(self) -> None:
        self._channels = Channels()
        self.publisher = FakePublisher(self._channels)

    async def listener(self, *always: str) -> Listener:
        """See `FeedWorld`."""
        heard = RecordingListener()
        return Listener(FakeFeed(self._channels, heard, always=always), heard)

    async def deaf_listener(self) -> Listener:
        """See `FeedWorld`."""
        elsewhere, heard = Channels(), RecordingListener()
        elsewhere.go_down()
        return Listener(FakeFeed(elsewhere, heard), heard)

    async def cut(self) -> None:
        """See `FeedWorld`."""
        self._channels.go_down()
        self._channels.come_up()


class RedisFeedWorld:
    """Channels on a real server."""

    def __init__(self, redis: Redis, stack: AsyncExitStack) -> None:
        self._redis = redis
        self._stack = stack
        self.publisher = RedisPublisher(redis)
        stack.push_async_callback(self.publisher.aclose)

    async def listener(self, *always: str) -> Listener:
        """See `FeedWorld`."""
        heard = RecordingListener()
        feed = await self._stack.enter_async_context(running_feed(self._redis, heard, *always))
        async with asyncio.timeout(DEADLINE_S):
            while not feed.hears:  # noqa: ASYNC110 - a state, not an event
                await asyncio.sleep(0.005)
        return Listener(feed, heard)

    async def deaf_listener(self) -> Listener:
        """See `FeedWorld`."""
        nowhere = Redis(host="127.0.0.1", port=1, socket_connect_timeout=1.0)
        self._stack.push_async_callback(nowhere.aclose)
        heard = RecordingListener()
        return Listener(await self._stack.enter_async_context(running_feed(nowhere, heard)), heard)

    async def cut(self) -> None:
        """See `FeedWorld`."""
        await self._redis.client_kill_filter(_type="pubsub")


@asynccontextmanager
async def running_feed(redis: Redis, heard: RecordingListener, *always: str) -> AsyncIterator[RedisFeed]:
    """Run a `RedisFeed` until the block ends.

    Raises:
        AssertionError: it stopped by itself.
    """
    feed = RedisFeed(redis.connection_pool.make_connection, heard, always=always)
    task = asyncio.create_task(feed.run(), name="feed")
    try:
        yield feed
        assert not task.done(), f"the feed stopped: {task}"
    finally:
        await cancel_until_done(task)
