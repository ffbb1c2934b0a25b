"""Share reads: requests for the same thing at the same time get one answer.

The answer is as fresh as without sharing: a request only shares a read that begins after the request. So a crowd that
opens a page causes at most two reads at a time: one that runs, and one that waits for it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Answer = TypeVar("Answer")


@dataclass(slots=True, eq=False)
class _Reads:
    running: asyncio.Task[Any]
    next: asyncio.Task[Any] | None = None


class SharedReads(Generic[Answer]):
    """Reads by key."""

    def __init__(self) -> None:
        self._reads: dict[Hashable, _Reads] = {}

    async def read(self, key: Hashable, read: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return what `read` returns, or raise what it raises. `key` must determine both."""
        reads = self._reads.get(key)
        if reads is None:
            task = self._begin(key, read)
            self._reads[key] = _Reads(task)
        elif reads.next is None:
            task = reads.next = self._begin(key, read, after=reads.running)
        else:
            task = reads.next
        # A request that is cancelled must not cancel the read of the others.
        return await asyncio.shield(task)

    def _begin(
        self, key: Hashable, read: Callable[[], Awaitable[Answer]], after: asyncio.Task[Any] | None = None
    ) -> asyncio.Task[Answer]:
        async def run() -> Answer:
            if after is not None:
                await asyncio.wait({after})
            try:
                return await read()
            finally:
                following = self._reads.pop(key).next
                if following is not None:
                    self._reads[key] = _Reads(following)

        task = asyncio.create_task(run(), name="shared read")
        # The requests handle the error. If all of them are gone, retrieve it here, so that asyncio does not log it.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task
