"""Who shares a read, and with whom."""

import asyncio

import pytest

from gifchat_rooms_api.use_cases.shared_reads import SharedReads


class Source:
    """Answers with the number of the read, when the test allows it."""

    def __init__(self) -> None:
        self.begun = 0
        self.gate = asyncio.Event()
        self.failing = False

    async def read(self) -> int:
        self.begun += 1
        number = self.begun
        await self.gate.wait()
        if self.failing:
            raise RuntimeError("no answer")
        return number


async def asked(shared: SharedReads[int], source: Source, key: str = "a") -> asyncio.Task[int]:
    task = asyncio.create_task(shared.read(key, source.read))
    for _ in range(3):
        await asyncio.sleep(0)
    return task


async def test_a_request_never_gets_a_read_that_began_before_it() -> None:
    shared, source = SharedReads[int](), Source()
    first = await asked(shared, source)
    later = [await asked(shared, source) for _ in range(3)]
    assert source.begun == 1
    source.gate.set()
    assert [await first, *[await each for each in later]] == [1, 2, 2, 2]
    assert await shared.read("a", source.read) == 3


async def test_other_keys_do_not_wait() -> None:
    shared, source = SharedReads[int](), Source()
    await asked(shared, source)
    await asked(shared, source, "b")
    assert source.begun == 2
    source.gate.set()


async def test_a_cancelled_request_does_not_cancel_the_others() -> None:
    shared, source = SharedReads[int](), Source()
    first = await asked(shared, source)
    second, third = await asked(shared, source), await asked(shared, source)
    first.cancel()
    second.cancel()
    await asyncio.wait({first, second})
    source.gate.set()
    assert await third == 2


async def test_a_failure_is_for_those_who_share_it_only() -> None:
    shared, source = SharedReads[int](), Source()
    source.failing = True
    first, second = await asked(shared, source), await asked(shared, source)
    source.gate.set()
    for request in (first, second):
        with pytest.raises(RuntimeError, match="no answer"):
            await request
    source.failing = False
    assert await shared.read("a", source.read) == 3
