"""Hearing channels: one connection of our own for sharded pub/sub.

redis-py's PubSub reconnects silently and waits without a deadline. Here a silence is broken by a PING, a PING without
an answer is a broken connection, and a new connection is told of, because what was published in between is lost.
"""

import asyncio
import random
import time
from collections.abc import Callable, Collection
from typing import Any

import structlog
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from realtime_gateway import metrics
from realtime_gateway.ports import FeedUnavailable

PING_AFTER_S = 1.5
DEAD_AFTER_S = 4.0
"""A silent partition shows within 5 s."""
SUBSCRIBE_TIMEOUT_S = 3.0
MIN_BACKOFF_S = 0.05
MAX_BACKOFF_S = 1.0
"""Members hear again within two seconds of Redis' return: one to come back, one to read what was missed."""

_log = structlog.get_logger(__name__)


class RedisFeed:
    """`ports.Feed` on Redis or Valkey 7 and later."""

    def __init__(
        self,
        make_connection: Callable[[], AbstractConnection],
        on_data: Callable[[str, bytes], None],
        on_reconnected: Callable[[Collection[str]], None],
        *,
        always: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_data(channel, bytes)` gets what is published; it must not raise.

        `on_reconnected(channels)` is called when the channels are subscribed again after a connection was lost.
        `always` are channels that are heard from the first connection on.
        """
        self._make_connection = make_connection
        self._on_data = on_data
        self._on_reconnected = on_reconnected
        self._clock = clock
        self._connection: AbstractConnection | None = None
        self._wanted = set(always)
        self._confirmed: set[str] = set()
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._listening: asyncio.Task[None] | None = None
        self._restored = False
        self._missed = False
        """A connection that heard something was lost, and nobody was told yet."""

    @property
    def hears(self) -> bool:
        """Whether all channels are heard now, as far as can be told."""
        return self._connection is not None and self._restored

    async def subscribe(self, channel: str) -> None:
        """See `ports.Feed`."""
        self._wanted.add(channel)
        if channel in self._confirmed:
            return
        confirmed = self._waiting.get(channel)
        if confirmed is None:
            confirmed = self._waiting[channel] = asyncio.get_running_loop().create_future()
        await self._send("SSUBSCRIBE", channel)
        try:
            async with asyncio.timeout(SUBSCRIBE_TIMEOUT_S):
                await asyncio.shield(confirmed)
        except TimeoutError as error:
            await self.unsubscribe(channel)
            raise FeedUnavailable(f"{channel} was not subscribed within {SUBSCRIBE_TIMEOUT_S} s") from error

    async def unsubscribe(self, channel: str) -> None:
        """See `ports.Feed`."""
        self._wanted.discard(channel)
        self._confirmed.discard(channel)
        self._waiting.pop(channel, None)
        self._tell_if_restored()
        await self._send("SUNSUBSCRIBE", channel)

    def restart(self) -> None:
        """Give the connection up and make a new one: somebody found out that it does not hear."""
        if self._listening is not None:
            self._listening.cancel()

    async def run(self) -> None:
        """Connect, and connect again with a growing and jittered delay, until cancelled."""
        backoff_s = MIN_BACKOFF_S
        while True:
            try:
                await self._connect()
                backoff_s = MIN_BACKOFF_S
                await self._listen_until_restart()
            except (RedisError, OSError) as error:
                _log.warning("feed_lost", error=str(error) or type(error).__name__)
            finally:
                await self._disconnect()
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            backoff_s = min(MAX_BACKOFF_S, backoff_s * 2)

    async def _connect(self) -> None:
        connection = self._make_connection()
        try:
            async with asyncio.timeout(DEAD_AFTER_S):
                await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._connection = connection
        for channel in list(self._wanted):
            await self._send("SSUBSCRIBE", channel)
        self._tell_if_restored()

    async def _listen_until_restart(self) -> None:
        self._listening = asyncio.create_task(self._listen(), name="feed")
        try:
            await asyncio.wait({self._listening})
        finally:
            await self._disconnect()
            self._listening.cancel()
        if not self._listening.cancelled():
            self._listening.result()

    async def _listen(self) -> None:
        connection = self._connection
        if connection is None:
            return
        heard_at_s = self._clock()
        while True:
            # None: nothing came in time.
            reply = await connection.read_response(
                disable_decoding=True, timeout=PING_AFTER_S, disconnect_on_error=False, push_request=True
            )
            if reply is not None:
                heard_at_s = self._clock()
                self._handle(reply)
            elif self._clock() - heard_at_s > DEAD_AFTER_S:
                raise OSError(f"silent for {DEAD_AFTER_S} s")
            else:
                await self._send("PING")

    def _handle(self, reply: Any) -> None:
        if not isinstance(reply, list) or len(reply) < 2:
            return
        match bytes(reply[0]):
            case b"smessage":
                self._on_data(reply[1].decode(), reply[2])
            case b"ssubscribe":
                self._subscribed(reply[1].decode())
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
        if self._missed:
            self._missed = False
            metrics.RESUBSCRIPTIONS.inc()
            self._on_reconnected(frozenset(self._wanted))

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self._missed = self._missed or bool(self._confirmed)
        self._confirmed.clear()
        self._restored = False
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _send(self, *command: str) -> None:
        """Without a connection nothing is sent: the next one subscribes to all that is wanted."""
        connection = self._connection
        # A connection that has just broken would connect by itself, and hear nothing but this channel.
        if connection is None or not connection.is_connected:
            return
        try:
            await connection.send_command(*command, check_health=False)
        except (RedisError, OSError) as error:
            _log.warning("feed_command_failed", command=command[0], error=str(error))
