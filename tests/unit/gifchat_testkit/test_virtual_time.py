import asyncio
import time

import pytest

from gifchat_testkit.virtual_time import VirtualTimeLoop, settle


def test_waiting_takes_no_time_and_keeps_its_order() -> None:
    seen: list[str] = []

    async def after(seconds: float, what: str) -> None:
        await asyncio.sleep(seconds)
        seen.append(what)

    async def wait() -> float:
        loop = asyncio.get_running_loop()
        started_at_s = loop.time()
        await asyncio.gather(after(3_600, "last"), after(1, "first"), after(60, "second"))
        return loop.time() - started_at_s

    began_at_s = time.monotonic()
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(wait()) == pytest.approx(3_600)
    assert seen == ["first", "second", "last"]
    assert time.monotonic() - began_at_s < 5


def test_settling_runs_everything_that_needs_no_time() -> None:
    seen: list[int] = []

    async def count_down(left: int) -> None:
        while left:
            await asyncio.sleep(0)
            left -= 1
            seen.append(left)

    async def wait() -> None:
        task = asyncio.create_task(count_down(50))
        await settle()
        assert task.done()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(wait())
    assert len(seen) == 50


def test_a_wait_that_can_never_end_fails_at_once() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    loop = VirtualTimeLoop()
    task = loop.create_task(wait())
    with pytest.raises(RuntimeError, match="no timer is left"):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()
