"""Publish to Redis with sharded pub/sub, in order, behind a bounded queue.

Publishing never waits and never fails. One task sends the queued frames, many per round trip; it runs only while there
is work. While Redis is down, the task retries and the queue keeps the newest frames. A gateway notices dropped log
entries as a gap and reads them from rooms-api. Other dropped frames are lost.
"""

import asyncio
import random
from collections import deque

import structlog
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from gifchat_chassis.background_tasks import cancel_until_done
from gifchat_chassis.redis_pipelining import Pipelining
from gifchat_contracts.codec import Frame, encode
from gifchat_rooms_api import metrics

MAX_QUEUED = 20_000
"""Frames kept while Redis is down: typically 10 MB, about 170 MB at most."""
MAX_FRAMES_PER_ROUND_TRIP = 500
FIRST_BACKOFF_S = 0.05
MAX_BACKOFF_S = 1.0

_log = structlog.get_logger(__name__)


class RedisPublisher:
    """`ports.Publisher` on Redis 7, Valkey 8, or later.

    A frame is published twice if the reply to the first attempt was lost.
    """

    def __init__(self, redis: Redis, max_queued: int = MAX_QUEUED) -> None:
        self._line = Pipelining(redis)
        self._max_queued = max_queued
        self._queue: deque[tuple[str, bytes]] = deque()
        self._sender: asyncio.Task[None] | None = None

    def publish(self, channel: str, frame: Frame) -> None:
        self._queue.append((channel, encode(frame)))
        self._drop_oldest()
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_queue(), name="redis-publisher")

    async def aclose(self, timeout_s: float = 2.0) -> None:
        """Wait up to `timeout_s` for the queued frames to be sent, then drop the rest."""
        if self._sender is not None:
            await asyncio.wait({self._sender}, timeout=timeout_s)
            await cancel_until_done(self._sender)
        self._line.close()
        metrics.PUBLISH_DROPPED.inc(len(self._queue))
        self._queue.clear()

    async def _send_queue(self) -> None:
        backoff_s = FIRST_BACKOFF_S
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_FRAMES_PER_ROUND_TRIP))]
            unsent: list[tuple[str, bytes]] = batch
            try:
                unsent = await self._send(batch)
            except (RedisError, OSError) as error:
                _log.warning("publish_failed", error=str(error), queued=len(self._queue) + len(batch))
            finally:
                self._queue.extendleft(reversed(unsent))
                self._drop_oldest()
            if unsent:
                await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
                backoff_s = min(MAX_BACKOFF_S, backoff_s * 2)
            else:
                backoff_s = FIRST_BACKOFF_S

    async def _send(self, batch: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """Publish `batch`; return the first frame that Redis refused and all later ones."""
        commands = [self._line.call("SPUBLISH", channel, data) for channel, data in batch]
        replies = await asyncio.gather(*commands, return_exceptions=True)
        for sent, reply in enumerate(replies):
            if isinstance(reply, RedisConnectionError | OSError):
                raise reply
            if isinstance(reply, BaseException):
                _log.warning("publish_refused", error=str(reply), queued=len(self._queue) + len(batch) - sent)
                return batch[sent:]
        return []

    def _drop_oldest(self) -> None:
        while len(self._queue) > self._max_queued:
            self._queue.popleft()
            metrics.PUBLISH_DROPPED.inc()
