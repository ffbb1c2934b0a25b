"""Ending background tasks."""

import asyncio
from collections.abc import Iterable
from typing import Any

_CANCEL_AGAIN_S = 0.1


async def cancel_until_done(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks until they are done. The tasks keep their results and errors.

    One cancellation is not enough: on Python 3.11 `asyncio.wait_for`, which drivers use, can lose it.
    """
    while running := _running(tasks):
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_CANCEL_AGAIN_S)


def _running(tasks: Iterable[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    return {task for task in tasks if not task.done()}
