"""Scripts share round trips, and none is left behind between two of them."""

import asyncio
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from realtime_gateway.adapters.redis_occupancy import BATCHES_AT_ONCE, SCRIPTS_IN_A_BATCH, _Scripts


class Pipeline:
    """Answers when it is let: the number of each script."""

    def __init__(self, redis: "HeldRedis") -> None:
        self._redis = redis
        self._numbers: list[int] = []

    def execute_command(self, *command: Any) -> None:
        self._numbers.append(command[-1])

    async def execute(self, *, raise_on_error: bool) -> list[int]:
        self._redis.batches.append(len(self._numbers))
        await self._redis.let.wait()
        return self._numbers


class HeldRedis:
    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.batches: list[int] = []

    def pipeline(self, *, transaction: bool) -> Pipeline:
        return Pipeline(self)


class Script:
    sha = "sha"


@pytest.fixture
def redis() -> HeldRedis:
    return HeldRedis()


@pytest.fixture
def scripts(redis: HeldRedis) -> _Scripts:
    return _Scripts(cast("Redis", redis), asyncio.Semaphore(32))


def run(scripts: _Scripts, number: int) -> asyncio.Task[Any]:
    return asyncio.create_task(scripts.run(cast("AsyncScript", Script()), [], [number]))


async def until_under_way(redis: HeldRedis, batches: int) -> None:
    async with asyncio.timeout(5):
        while len(redis.batches) < batches:
            await asyncio.sleep(0)


async def test_what_comes_while_all_batches_are_under_way_goes_together(redis: HeldRedis, scripts: _Scripts) -> None:
    first = []
    for number in range(BATCHES_AT_ONCE):
        first.append(run(scripts, number))
        await until_under_way(redis, number + 1)
    more = [run(scripts, number) for number in range(BATCHES_AT_ONCE, BATCHES_AT_ONCE + SCRIPTS_IN_A_BATCH + 1)]
    await asyncio.sleep(0)
    redis.let.set()
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*first, *more)
    assert answers == list(range(len(answers)))
    assert redis.batches == [1] * BATCHES_AT_ONCE + [SCRIPTS_IN_A_BATCH, 1]


async def test_who_asks_in_the_turn_in_which_all_batches_end_is_answered(redis: HeldRedis, scripts: _Scripts) -> None:
    async def twice(number: int) -> list[Any]:
        one = await scripts.run(cast("AsyncScript", Script()), [], [number])
        return [one, await scripts.run(cast("AsyncScript", Script()), [], [number + 100])]

    asking = asyncio.create_task(twice(0))
    for number in range(1, BATCHES_AT_ONCE):
        await until_under_way(redis, number)
        run(scripts, number)
    await until_under_way(redis, BATCHES_AT_ONCE)
    redis.let.set()
    async with asyncio.timeout(5):
        assert await asking == [0, 100]
