import asyncio
import os
import signal

import pytest

from gifchat_chassis.background_tasks import background_tasks, cancel_until_done


async def test_a_task_that_loses_cancellations_is_cancelled_again() -> None:
    lost = 0

    async def lose_two() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost += 1
                if lost == 3:
                    raise

    task = asyncio.create_task(lose_two())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await cancel_until_done(task)
    assert (task.cancelled(), lost) == (True, 3)


async def test_a_task_that_failed_keeps_its_error() -> None:
    async def fail() -> None:
        raise ValueError("of the task")

    task = asyncio.create_task(fail())
    await asyncio.wait({task})
    await cancel_until_done(task)
    assert str(task.exception()) == "of the task"


async def forever() -> None:
    await asyncio.Event().wait()


async def test_tasks_end_before_the_hooks_run_in_order() -> None:
    history: list[str] = []

    async def task() -> None:
        try:
            await forever()
        finally:
            history.append("task")

    async def first() -> None:
        history.append("first")

    async def second() -> None:
        history.append("second")

    async with background_tasks([task], [first, second], asyncio.Event()):
        await asyncio.sleep(0)
        assert history == []
    assert history == ["task", "first", "second"]


async def test_every_hook_runs_even_if_the_service_and_a_hook_fail() -> None:
    history: list[str] = []

    async def fail() -> None:
        history.append("failing")
        raise OSError("the connection is gone")

    async def close() -> None:
        history.append("closed")

    failed = asyncio.Event()
    with pytest.raises(OSError, match="the connection is gone"):
        async with background_tasks([forever], [fail, close], failed):
            raise ValueError("of the service")
    assert history == ["failing", "closed"]
    assert not failed.is_set()
    assert [task for task in asyncio.all_tasks() if task.get_name() == "forever"] == []


@pytest.mark.parametrize("error", [None, ValueError("of the task")])
async def test_the_process_stops_if_a_task_ends(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    async def end() -> None:
        if error is not None:
            raise error

    signals: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: signals.append((pid, number)))
    failed = asyncio.Event()
    async with background_tasks([forever, end], [], failed):
        async with asyncio.timeout(5):
            await failed.wait()
    assert signals == [(os.getpid(), signal.SIGTERM)]
