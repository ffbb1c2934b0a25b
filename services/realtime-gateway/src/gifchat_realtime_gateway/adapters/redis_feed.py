"""Subscribe to channels over our own connection, with sharded pub/sub.

redis-py's PubSub reconnects silently and waits without a deadline. This feed sends a PING after a silence, and
reconnects if it gets no answer. It tells its listener about each new connection, because messages may have been lost.
"""

import asyncio
import random
import time
from collections.abc import Callable, Collection
from typing import Any

import structlog
from hiredis import ReplyError
from redis.asyncio.connection import AbstractConnection

from gifchat_chassis.redis_link import RedisLink, connect
from gifchat_realtime_gateway import metrics
from gifchat_realtime_gateway.ports import FeedListener, FeedUnavailableError

LOOK_EVERY_S = 0.25
PING_AFTER_S = 1.5
DEAD_AFTER_S = 4.0
"""Low enough that the feed detects a silent network partition within 5 s."""
SUBSCRIBE_TIMEOUT_S = 3.0
MIN_BACKOFF_S = 0.05
MAX_BACKOFF_S = 1.0
"""Members get events again within 2 s after Redis is back: 1 s to reconnect, 1 s to read missed events."""

_log = structlog.get_logger(__name__)


class RedisFeed:
    """`ports.Feed` on Redis or Valkey 7 and later."""

    def __init__(
        self,
        make_connection: Callable[[], AbstractConnection],
        listener: FeedListener,
        *,
        always: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`make_connection` returns a redis-py connection, which provides the address and the credentials.

        `always` names channels to subscribe to on every connection.
        """
        self._make_connection = make_connection
        self._listener = listener
        self._clock = clock
        self._connection: RedisLink | None = None
        self._wanted = set(always)
        self._confirmed: set[str] = set()
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._backoff_s = MIN_BACKOFF_S
        self._restored = False
        self._missed = False
        """Whether a subscribed connection was lost and the listener does not know yet."""

    @property
    def hears(self) -> bool:
        """Whether all channels are subscribed, as far as this node knows."""
        return self._connection is not None and self._restored

    async def subscribe(self, channel: str) -> None:
        self._wanted.add(channel)
        if channel in self._confirmed:
            return
        confirmed = self._waiting.get(channel)
        if confirmed is None:
            confirmed = self._waiting[channel] = asyncio.get_running_loop().create_future()
        # Without a connection, the next one subscribes to all wanted channels.
        if self._connection is not None:
            self._connection.send("SSUBSCRIBE", channel)
        try:
            async with asyncio.timeout(SUBSCRIBE_TIMEOUT_S):
                await asyncio.shield(confirmed)
        except TimeoutError as error:
            await self.unsubscribe(channel)
            raise FeedUnavailableError(f"{channel} was not subscribed within {SUBSCRIBE_TIMEOUT_S} s") from error

    async def unsubscribe(self, channel: str) -> None:
        self._wanted.discard(channel)
        self._confirmed.discard(channel)
        self._waiting.pop(channel, None)
        self._tell_if_restored()
        if self._connection is not None:
            self._connection.send("SUNSUBSCRIBE", channel)

    def restart(self) -> None:
        """Drop the connection and open a new one, because this one delivers nothing."""
        if self._connection is not None:
            self._connection.fail("given up")

    async def run(self) -> None:
        """Connect, and reconnect with a growing and jittered delay, until cancelled."""
        while True:
            try:
                await self._connect_and_listen()
            except OSError as error:
                _log.warning("feed_lost", error=str(error) or type(error).__name__)
            await asyncio.sleep(self._backoff_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            self._backoff_s = min(MAX_BACKOFF_S, self._backoff_s * 2)

    async def _connect_and_listen(self) -> None:
        async with asyncio.timeout(DEAD_AFTER_S):
            connection = await connect(self._make_connection(), self._handle, self._clock)
        self._connection = connection
        try:
            for channel in self._wanted:
                connection.send("SSUBSCRIBE", channel)
            self._tell_if_restored()
            while not connection.lost.done():
                await asyncio.wait({connection.lost}, timeout=LOOK_EVERY_S)
                silent_s = self._clock() - connection.heard_at_s
                if silent_s > DEAD_AFTER_S:
                    connection.fail(f"silent for {DEAD_AFTER_S} s")
                elif silent_s > PING_AFTER_S:
                    connection.send("PING")
            raise connection.lost.result()
        finally:
            connection.fail("closed")
            self._disconnected()

    def _handle(self, reply: Any) -> None:
        match reply:
            case [b"smessage", channel, data]:
                self._listener.on_data(channel.decode(), data)
            case [b"ssubscribe", channel, _]:
                self._subscribed(channel.decode())
            case ReplyError() if self._connection is not None:
                self._connection.fail(str(reply))
            case _:
                pass

    def _subscribed(self, channel: str) -> None:
        if channel not in self._wanted:
            return
        self._confirmed.add(channel)
        confirmed = self._waiting.pop(channel, None)
        if confirmed is not None and not confirmed.done():
            confirmed.set_result(None)
        self._tell_if_restored()

    def _tell_if_restored(self) -> None:
        if self._restored or self._connection is None or not self._wanted <= self._confirmed:
            return
        self._restored = True
        self._backoff_s = MIN_BACKOFF_S
        if self._missed:
            self._missed = False
            metrics.RESUBSCRIPTIONS.inc()
            self._listener.on_reconnected(frozenset(self._wanted))

    def _disconnected(self) -> None:
        self._connection = None
        self._missed = self._missed or bool(self._confirmed)
        self._confirmed.clear()
        self._restored = False
