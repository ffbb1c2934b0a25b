"""Argon2id in a thread pool that bounds both the running hashes and the waiting ones.

argon2-cffi releases the GIL while it hashes. Each hash takes 19 MiB, so the pool also bounds memory.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from gifchat_rooms_api.ports import PasswordsBusyError

WORKERS = 2
MAX_WAITING = 64
"""At about 20 ms per hash, the last in the queue waits less than a second."""

_Result = TypeVar("_Result")


class Argon2Passwords:
    """`ports.Passwords` with the parameters that OWASP recommends: 19 MiB, two iterations, one lane."""

    def __init__(self, workers: int = WORKERS, max_waiting: int = MAX_WAITING) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="argon2")
        self._max_in_flight = workers + max_waiting
        self._in_flight = 0

    async def hash(self, password: str) -> str:
        return await self._run(lambda: self._hasher.hash(password))

    async def matches(self, password: str, password_hash: str) -> bool:
        return await self._run(lambda: self._matches(password, password_hash))

    async def aclose(self) -> None:
        """Stop the threads and drop the waiting hashes."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _matches(self, password: str, password_hash: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        if self._in_flight >= self._max_in_flight:
            raise PasswordsBusyError(f"{self._in_flight} passwords are being hashed")
        # Counted until the thread is done, even if the caller stops waiting earlier.
        future = self._pool.submit(work)
        self._in_flight += 1
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _future: loop.call_soon_threadsafe(self._release))
        return await asyncio.wrap_future(future)

    def _release(self) -> None:
        self._in_flight -= 1
