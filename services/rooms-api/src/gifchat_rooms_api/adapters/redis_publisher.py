"""Publishing to Redis: sharded pub/sub, in order, behind a bounded queue.

Who publishes never waits and never fails. One sender works the queue off, all that waits in one round trip; it lives
only while there is work. While Redis is away it keeps trying, and the queue keeps the newest frames: what it drops, a
gateway finds as a gap and reads from rooms-api.
"""

import asyncio
import random
from collections import deque
from collections.abc import Iterable

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gifchat_contracts.codec import Frame, encode
from gifchat_rooms_api import metrics

MAX_WAITING = 20_000
"""Frames that are kept while Redis is away: at most some 100 MB, commonly 10."""
MAX_ROUND_TRIP = 500
FIRST_BACKOFF_S = 0.05
MAX_BACKOFF_S = 1.0

_log = structlog.get_logger(__name__)


class RedisPublisher:
    """`ports.Publisher` on Redis or Valkey 7 and later.

    A frame may be published twice, where the reply to the first attempt was lost.
    """

    def __init__(self, redis: Redis, max_waiting: int = MAX_WAITING) -> None:
        """`redis` needs a `socket_timeout`: a server that has stopped answering must show as an error."""
        self._redis = redis
        self._max_waiting = max_waiting
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._sender: asyncio.Task[None] | None = None

    def publish(self, channel: str, frame: Frame) -> None:
        """See `ports.Publisher`."""
        self._waiting.append((channel, encode(frame)))
        self._drop_oldest()
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._work_off(), name="redis-publisher")

    async def aclose(self, timeout_s: float = 2.0) -> None:
        """Give what waits a last chance, then forget it."""
        if self._sender is not None and not self._sender.done():
            await asyncio.wait({self._sender}, timeout=timeout_s)
        while self._sender is not None and not self._sender.done():
            # Again and again: on Python 3.11 one cancellation can be lost in `asyncio.wait_for`.
            self._sender.cancel()
            await asyncio.wait({self._sender}, timeout=0.1)
        metrics.PUBLISH_DROPPED.inc(len(self._waiting))
        self._waiting.clear()

    async def _work_off(self) -> None:
        backoff_s = FIRST_BACKOFF_S
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_ROUND_TRIP))]
            unsent: list[tuple[str, bytes]] = batch
            try:
                unsent = await self._send(batch)
            except (RedisError, OSError) as error:
                _log.warning("publish_failed", error=str(error), waiting=len(self._waiting) + len(batch))
            finally:
                self._put_back(unsent)
            if unsent:
                await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads attempts, hides nothing
                backoff_s = min(MAX_BACKOFF_S, backoff_s * 2)
            else:
                backoff_s = FIRST_BACKOFF_S

    async def _send(self, batch: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """Publish `batch`; returns what is left of it from the first frame on that Redis refused."""
        pipeline = self._redis.pipeline(transaction=False)
        for channel, data in batch:
            pipeline.execute_command("SPUBLISH", channel, data)
        replies = await pipeline.execute(raise_on_error=False)
        for sent, reply in enumerate(replies):
            if isinstance(reply, Exception):
                _log.warning("publish_refused", error=str(reply), waiting=len(self._waiting) + len(batch) - sent)
                return batch[sent:]
        return []

    def _put_back(self, unsent: Iterable[tuple[str, bytes]]) -> None:
        self._waiting.extendleft(reversed(list(unsent)))
        self._drop_oldest()

    def _drop_oldest(self) -> None:
        while len(self._waiting) > self._max_waiting:
            self._waiting.popleft()
            metrics.PUBLISH_DROPPED.inc()
