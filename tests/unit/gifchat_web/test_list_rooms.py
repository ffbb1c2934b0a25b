"""A page of the list is read once per period for all users, and is never used after it."""

import asyncio
from dataclasses import dataclass, field

import pytest

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_web.ports import Caller, RoomsApi, RoomsPage, Sort
from gifchat_web.use_cases.list_rooms import ListRooms

ALICE, BOB = Caller("alice", "203.0.113.1", "ko"), Caller("bob", "203.0.113.2", "en")
KEEP_S = 1.0


@dataclass
class Reads:
    """The only method of the port `RoomsApi` that is used here. Each read waits for `answer`."""

    asked: list[tuple[str, Sort, str | None]] = field(default_factory=list)
    answer: asyncio.Event = field(default_factory=asyncio.Event)
    refusal: Refused | None = None

    async def list_rooms(self, _caller: Caller, *, query: str, sort: Sort, cursor: str | None) -> RoomsPage:
        self.asked.append((query, sort, cursor))
        await self.answer.wait()
        if self.refusal:
            raise self.refusal
        return RoomsPage([], f"page {len(self.asked)}")


@dataclass
class Clock:
    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reads() -> Reads:
    reads = Reads()
    reads.answer.set()
    return reads


def lists_of(reads: Reads, clock: Clock, *, keep_s: float = KEEP_S, max_pages: int = 10) -> ListRooms:
    api: RoomsApi = reads  # type: ignore[assignment]  # only `list_rooms` is called
    return ListRooms(api, keep_s=keep_s, max_pages=max_pages, clock=clock)


async def read(lists: ListRooms, caller: Caller = ALICE, query: str = "") -> RoomsPage:
    return await lists.page(caller, query=query, sort="newest", cursor=None)


async def test_a_page_is_read_once_within_its_time(reads: Reads, clock: Clock) -> None:
    lists = lists_of(reads, clock)
    first = await read(lists)
    clock.now_s += KEEP_S - 0.001
    assert await read(lists, BOB) is first
    clock.now_s += 0.001
    assert await read(lists, BOB) is not first
    assert len(reads.asked) == 2


async def test_nothing_is_kept_for_zero_seconds(reads: Reads, clock: Clock) -> None:
    lists = lists_of(reads, clock, keep_s=0)
    assert await read(lists) is not await read(lists)


async def test_each_query_sort_and_cursor_has_its_own_page(reads: Reads, clock: Clock) -> None:
    lists = lists_of(reads, clock)
    wanted: list[tuple[str, Sort, str | None]] = [
        ("", "newest", None),
        ("cat", "newest", None),
        ("", "members", None),
        ("", "newest", "next"),
    ]
    for query, sort, cursor in wanted * 2:
        await lists.page(ALICE, query=query, sort=sort, cursor=cursor)
    assert reads.asked == wanted


async def test_requests_at_the_same_time_share_one_read(clock: Clock) -> None:
    reads = Reads()
    lists = lists_of(reads, clock)
    waiting = [asyncio.create_task(read(lists, caller)) for caller in (ALICE, BOB)]
    await asyncio.sleep(0)
    reads.answer.set()
    first, second = await asyncio.gather(*waiting)
    assert first is second
    assert len(reads.asked) == 1


async def test_a_user_who_goes_away_leaves_the_read_to_the_others(clock: Clock) -> None:
    reads = Reads()
    lists = lists_of(reads, clock)
    gone, waiting = asyncio.create_task(read(lists, ALICE)), asyncio.create_task(read(lists, BOB))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    reads.answer.set()
    assert (await waiting).next_cursor == "page 1"


async def test_a_refusal_is_not_kept(reads: Reads, clock: Clock) -> None:
    lists = lists_of(reads, clock)
    reads.refusal = Refused(errors.UNAVAILABLE)
    with pytest.raises(Refused):
        await read(lists)
    reads.refusal = None
    assert (await read(lists)).next_cursor == "page 2"


async def test_a_change_drops_every_page_and_every_read_that_began_before_it(clock: Clock) -> None:
    reads = Reads()
    lists = lists_of(reads, clock)
    before = asyncio.create_task(read(lists))
    await asyncio.sleep(0)
    lists.drop()
    reads.answer.set()
    after = await read(lists)
    assert await before is not after
    assert await read(lists) is after, "the old read must not replace the new one"
    lists.drop()
    assert await read(lists) is not after


async def test_the_number_of_kept_pages_is_bounded(reads: Reads, clock: Clock) -> None:
    lists = lists_of(reads, clock, max_pages=2)
    for query in ("a", "b", "c", "b", "c", "a"):
        await read(lists, query=query)
    assert [query for query, _sort, _cursor in reads.asked] == ["a", "b", "c", "a"]
