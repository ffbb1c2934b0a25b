import asyncio

from gifchat_testkit.tasks import cancel_until_done


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
