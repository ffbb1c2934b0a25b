"""`Feed` and `Publisher`: the fakes and sharded pub/sub on a real server pass one suite."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gifchat_contracts.codec import Frame, Kind, encode
from gifchat_realtime_gateway.adapters.redis_publisher import RedisPublisher
from gifchat_realtime_gateway.ports import FeedUnavailableError, Publisher, PublishFailedError
from gifchat_testkit.fakes.feed import Channels, FakePublisher
from gifchat_testkit.feed_worlds import DEADLINE_S, FakeFeedWorld, FeedWorld, RedisFeedWorld

ONE, TWO, NEVER = "gifchat:{p01}:one", "gifchat:{p02}:two", "gifchat:{p03}:never"


@pytest.fixture(params=["fake", pytest.param("valkey_url", marks=pytest.mark.servers)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[FeedWorld]:
    if request.param == "fake":
        yield FakeFeedWorld()
        return
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(
            Redis.from_url(request.getfixturevalue(request.param), socket_timeout=1.0)
        )
        yield RedisFeedWorld(redis, stack)


def frame(text: str) -> Frame:
    return Frame(Kind.EXIT, text.encode())


def data(*texts: str) -> list[bytes]:
    return [encode(frame(text)) for text in texts]


async def publish(world: FeedWorld, channel: str, *texts: str) -> None:
    for text in texts:
        await world.publisher.publish(channel, frame(text))


async def test_frames_published_after_a_subscription_arrive_once_and_in_order(world: FeedWorld) -> None:
    listener = await world.listener()
    await publish(world, ONE, "before")
    await listener.feed.subscribe(ONE)
    texts = [str(number) for number in range(100)]
    await publish(world, ONE, *texts)
    await listener.heard.until(ONE, *data(*texts))


async def test_frames_arrive_unchanged(world: FeedWorld) -> None:
    listener = await world.listener()
    await listener.feed.subscribe(ONE)
    odd = Frame(Kind.TYPING, bytes(range(256)) + b"\r\n\x00" + "방".encode())
    await world.publisher.publish(ONE, odd)
    await listener.heard.until(ONE, encode(odd))


async def test_only_subscribed_channels_are_received(world: FeedWorld) -> None:
    listener = await world.listener()
    await listener.feed.subscribe(ONE)
    await publish(world, TWO, "not heard")
    await publish(world, ONE, "heard")
    await listener.heard.until(ONE, *data("heard"))
    assert listener.heard.on(TWO) == []


async def test_permanent_channels_are_received_from_the_start(world: FeedWorld) -> None:
    listener = await world.listener(ONE, TWO)
    await publish(world, ONE, "1")
    await publish(world, TWO, "2")
    await listener.heard.until(TWO, *data("2"))
    assert listener.heard.on(ONE) == data("1")
    assert listener.heard.reconnected == []


async def test_a_second_subscription_to_a_channel_is_a_no_op(world: FeedWorld) -> None:
    listener = await world.listener()
    await asyncio.gather(listener.feed.subscribe(ONE), listener.feed.subscribe(ONE))
    await listener.feed.subscribe(ONE)
    await publish(world, ONE, "1", "2")
    await listener.heard.until(ONE, *data("1", "2"))
    await listener.feed.unsubscribe(ONE)
    await listener.feed.subscribe(TWO)
    await publish(world, ONE, "3")
    await publish(world, TWO, "4")
    await listener.heard.until(TWO, *data("4"))
    assert listener.heard.on(ONE) == data("1", "2")


async def test_a_channel_that_is_resubscribed_at_once_is_received(world: FeedWorld) -> None:
    listener = await world.listener()
    for number in range(20):
        await listener.feed.subscribe(ONE)
        await publish(world, ONE, str(number))
        await asyncio.gather(listener.feed.unsubscribe(ONE), listener.feed.subscribe(ONE))
    await publish(world, ONE, "last")
    await listener.heard.until(ONE, *data(*map(str, range(20)), "last"))


async def test_unsubscribing_an_unknown_channel_is_a_no_op(world: FeedWorld) -> None:
    listener = await world.listener(TWO)
    await listener.feed.unsubscribe(NEVER)
    await publish(world, TWO, "1")
    await listener.heard.until(TWO, *data("1"))


async def test_every_subscriber_receives_a_frame(world: FeedWorld) -> None:
    listeners = [await world.listener(ONE) for _ in range(3)]
    await publish(world, ONE, "1")
    for listener in listeners:
        await listener.heard.until(ONE, *data("1"))


async def test_after_a_lost_connection_every_channel_is_resubscribed_and_reported_once(world: FeedWorld) -> None:
    listener = await world.listener(ONE)
    await listener.feed.subscribe(TWO)
    await listener.feed.subscribe(NEVER)
    await listener.feed.unsubscribe(NEVER)
    for times in (1, 2, 3):
        await world.cut()
        async with asyncio.timeout(DEADLINE_S):
            while len(listener.heard.reconnected) < times:
                await asyncio.sleep(0.005)
        assert set(listener.heard.reconnected[-1]) == {ONE, TWO}
        await publish(world, ONE, f"one {times}")
        await publish(world, TWO, f"two {times}")
        await listener.heard.until(TWO, *data(*(f"two {number}" for number in range(1, times + 1))))
    assert len(listener.heard.reconnected) == 3
    assert listener.heard.on(ONE) == data("one 1", "one 2", "one 3")


async def test_subscribing_while_the_feed_is_down_raises(world: FeedWorld) -> None:
    listener = await world.deaf_listener()
    with pytest.raises(FeedUnavailableError):
        await listener.feed.subscribe(ONE)
    await listener.feed.unsubscribe(ONE)
    await listener.feed.unsubscribe(TWO)
    assert listener.heard.reconnected == []


@pytest.mark.parametrize("which", ["fake", "real"])
async def test_publishing_while_the_server_is_down_raises(which: str) -> None:
    channels = Channels()
    channels.go_down()
    async with Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0)) as nowhere:
        publisher: Publisher = FakePublisher(channels)
        if which == "real":
            publisher = RedisPublisher(nowhere)
        with pytest.raises(PublishFailedError):
            await publisher.publish(ONE, frame("1"))
