"""Run a service's background tasks while it serves, then cancel them and run its shutdown hooks."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog

Task = Callable[[], Coroutine[Any, Any, None]]
ShutdownHook = Callable[[], Awaitable[object]]

_CANCEL_AGAIN_S = 0.1
_log = structlog.get_logger(__name__)


@asynccontextmanager
async def background_tasks(
    tasks: Iterable[Task], shutdown_hooks: Sequence[ShutdownHook], failed: asyncio.Event
) -> AsyncIterator[None]:
    """Run `tasks`, which should never end. On exit, cancel them, then call `shutdown_hooks` in order.

    If a task does end, the service is broken: this function sets `failed` and stops the process with SIGTERM.
    Every hook runs, even if an earlier one raises; the last error is raised at the end.
    """
    stopping = False

    def ended(task: asyncio.Task[None]) -> None:
        if not stopping:
            cause = None if task.cancelled() else task.exception()
            _log.critical("task_died", task=task.get_name(), exc_info=cause)
            failed.set()
            os.kill(os.getpid(), signal.SIGTERM)

    async with AsyncExitStack() as stack:
        for hook in reversed(shutdown_hooks):
            stack.push_async_callback(hook)
        running = [asyncio.create_task(task(), name=task.__qualname__) for task in tasks]
        for task in running:
            task.add_done_callback(ended)
        stack.push_async_callback(cancel_until_done, *running)
        try:
            yield
        finally:
            stopping = True


async def cancel_until_done(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks until they are done. The tasks keep their results and errors.

    One cancellation is not enough: on Python 3.11 `asyncio.wait_for`, which drivers use, can lose it.
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_CANCEL_AGAIN_S)
