"""At shutdown the service cancels its background tasks, then closes its clients."""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gifchat_chassis.background_tasks import cancel_until_done
from gifchat_rooms_api import app as composition
from gifchat_rooms_api.ports import StoreClosedError
from gifchat_rooms_api.settings import Settings

pytestmark = pytest.mark.servers

LIFESPANS = 500
AT_ONCE = 10
LONGEST_LIFE_S = 0.25
DEADLINE_S = 20.0
SEED = 20_260_102


@contextmanager
def busy_thread() -> Iterator[None]:
    """Run a thread that holds the GIL half of the time, 4 ms at a time."""
    stopping = threading.Event()

    def burn() -> None:
        while not stopping.wait(0.004):
            ends_at = time.perf_counter() + 0.004
            while time.perf_counter() < ends_at:
                pass

    thread = threading.Thread(target=burn)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


@pytest.fixture
def wire(mongo_url: str, mongo_database: str, valkey: str) -> Callable[[], composition._Service]:
    """Return a function that builds the service without its routes, which take longest to build."""
    settings = Settings(mongo_url=mongo_url, mongo_database=mongo_database, redis_url=valkey)
    return lambda: composition._Service(settings)


async def test_a_short_lifespan_under_load_leaves_no_task_behind(wire: Callable[[], composition._Service]) -> None:
    lives_s = random.Random(SEED)

    async def live(life_s: float) -> None:
        async with wire().lifespan():
            await asyncio.sleep(life_s)

    leftovers: set[asyncio.Task[Any]] = set()
    with busy_thread():
        for _ in range(LIFESPANS // AT_ONCE):
            before = asyncio.all_tasks()
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.gather(*(live(lives_s.uniform(0, LONGEST_LIFE_S)) for _ in range(AT_ONCE)))
            leftovers |= asyncio.all_tasks() - before
    still_running = {str(task.get_coro()) for task in leftovers if not task.done()}
    await cancel_until_done(*leftovers)  # Otherwise closing the loop might wait forever.
    assert still_running == set()


@pytest.mark.parametrize(
    "work",
    [
        lambda wired: wired.janitor.run(),
        lambda wired: wired.announce_heads.run(),
        lambda wired: composition._prepare(wired.room_store.create_indexes),
        lambda wired: composition._prepare(wired.log.create_indexes),
        lambda wired: composition._prepare(wired.gifs.create_indexes),
    ],
    ids=["janitor", "announce-heads", "indexes of rooms", "indexes of messages", "indexes of GIFs"],
)
async def test_a_loop_ends_when_its_mongodb_client_is_closed(
    wire: Callable[[], composition._Service], work: Callable[[composition._Service], Coroutine[Any, Any, None]]
) -> None:
    wired = wire()
    await wired.mongo.close()
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(StoreClosedError):
            await work(wired)
    await wired.redis.aclose()
