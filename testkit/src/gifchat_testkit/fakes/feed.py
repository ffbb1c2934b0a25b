"""The fakes of `redis_feed` and `redis_publisher`: channels in memory that a test can take down."""

import asyncio
from collections.abc import Collection

from gifchat_contracts.codec import Frame, encode
from gifchat_realtime_gateway.ports import FeedListener, FeedUnavailableError, PublishFailedError


class Channels:
    """The in-memory Redis: the subscriptions, shared by the feeds of all nodes."""

    def __init__(self) -> None:
        self.down = False
        """Whether publishing and subscribing fail; set by `go_down` and `come_up`."""
        self.published: list[tuple[str, bytes]] = []
        self._feeds: list[FakeFeed] = []

    def connect(self, feed: "FakeFeed") -> None:
        """Connect a feed."""
        self._feeds.append(feed)

    def publish(self, channel: str, data: bytes) -> None:
        """Deliver `data` to the listeners of `channel`, after everything published before."""
        self.published.append((channel, data))
        for feed in self._feeds:
            if channel in feed.subscribed:
                asyncio.get_running_loop().call_soon(feed.deliver, channel, data)

    def go_down(self) -> None:
        """Drop all connections and refuse new ones."""
        self.down = True
        for feed in self._feeds:
            feed.lose_connection()

    def come_up(self) -> None:
        """Accept connections again; every feed reconnects."""
        self.down = False
        for feed in self._feeds:
            feed.reconnect()


class FakeFeed:
    """`gifchat_realtime_gateway.ports.Feed` of one node."""

    def __init__(
        self,
        channels: Channels,
        listener: FeedListener,
        *,
        always: Collection[str] = (),
    ) -> None:
        """`channels` replaces the connection that `RedisFeed` takes."""
        self._channels = channels
        self._listener = listener
        self._wanted = set(always)
        self.subscribed: set[str] = set(always)
        """The subscribed channels."""
        channels.connect(self)

    async def subscribe(self, channel: str) -> None:
        """See the port."""
        await asyncio.sleep(0)
        if self._channels.down:
            raise FeedUnavailableError("switched off by the test")
        self._wanted.add(channel)
        self.subscribed.add(channel)

    async def unsubscribe(self, channel: str) -> None:
        """See the port."""
        self._wanted.discard(channel)
        self.subscribed.discard(channel)
        await asyncio.sleep(0)

    def deliver(self, channel: str, data: bytes) -> None:
        """Pass on data that was published, if this node is subscribed."""
        if channel in self.subscribed:
            self._listener.on_data(channel, data)

    def lose_connection(self) -> None:
        """Lose the connection."""
        self.subscribed.clear()

    def reconnect(self) -> None:
        """Resubscribe to all wanted channels, and tell the listener."""
        self.subscribed |= self._wanted
        self._listener.on_reconnected(frozenset(self._wanted))


class FakePublisher:
    """`gifchat_realtime_gateway.ports.Publisher`."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    async def publish(self, channel: str, frame: Frame) -> None:
        """See the port."""
        await asyncio.sleep(0)
        if self._channels.down:
            raise PublishFailedError("switched off by the test")
        self._channels.publish(channel, encode(frame))
