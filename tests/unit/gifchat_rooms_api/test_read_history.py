from datetime import UTC, datetime

import pytest

from gifchat_contracts.ids import RoomId, UserId
from gifchat_contracts.position import Position
from gifchat_rooms_api.domain.message import ENTRY_BYTES, Draft, LogEntry, SlowModeChange
from gifchat_rooms_api.ports import StoreUnavailableError
from gifchat_rooms_api.use_cases.read_history import NEWEST, After, Before, Range, ReadHistory
from gifchat_testkit.fakes.message_log import FakeMessageLog, Unreachable
from gifchat_testkit.fakes.rooms import room_of

ROOM = room_of(RoomId("65f0c0ffee0123456789abcd"))
PLENTY = 1_000_000
AT = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
async def log() -> FakeMessageLog:
    log = FakeMessageLog({ROOM.room_id: ROOM.epoch})
    await log.append(
        ROOM.room_id,
        [
            LogEntry(seq, AT, Draft(f"{seq:024x}", UserId("a" * 24), f"k{seq}", SlowModeChange(seq)))
            for seq in range(1, 11)
        ],
    )
    return log


async def test_the_newest_page_needs_no_second_query_for_the_head() -> None:
    log = FakeMessageLog({ROOM.room_id: ROOM.epoch})
    log.faults.extend([None, Unreachable()])
    page = await ReadHistory(log, PLENTY).page(ROOM, NEWEST, 50)
    assert (page.head, list(page.entries)) == (0, [])


@pytest.mark.parametrize(
    ("wanted", "limit", "seqs", "has_more"),
    [
        (NEWEST, 3, [8, 9, 10], True),
        (NEWEST, 10, list(range(1, 11)), False),
        (NEWEST, 11, list(range(1, 11)), False),
        (Before(8), 3, [5, 6, 7], True),
        (Before(4), 3, [1, 2, 3], False),
        (Before(1), 3, [], False),
        (After(0), 3, [1, 2, 3], True),
        (After(7), 3, [8, 9, 10], False),
        (After(10), 3, [], False),
        (After(99), 3, [], False),
    ],
)
async def test_a_page_has_the_requested_entries(
    log: FakeMessageLog, wanted: Range, limit: int, seqs: list[int], has_more: bool
) -> None:
    page = await ReadHistory(log, PLENTY).page(ROOM, wanted, limit)
    assert [entry.seq for entry in page.entries] == seqs
    assert page.has_more is has_more
    assert (page.epoch, page.head) == (ROOM.epoch, 10)


@pytest.mark.parametrize(
    ("wanted", "limit", "max_bytes", "seqs", "has_more"),
    [
        (NEWEST, 10, 3 * ENTRY_BYTES, [8, 9, 10], True),
        (NEWEST, 2, 3 * ENTRY_BYTES, [9, 10], True),
        (NEWEST, 50, 10 * ENTRY_BYTES, list(range(1, 11)), False),
        (Before(4), 50, 2 * ENTRY_BYTES, [2, 3], True),
        (Before(3), 50, 2 * ENTRY_BYTES, [1, 2], False),
        (After(0), 50, 3 * ENTRY_BYTES + 1, [1, 2, 3], True),
        (After(8), 50, 2 * ENTRY_BYTES, [9, 10], False),
        (After(0), 50, 1, [1], True),
        (NEWEST, 50, 1, [10], True),
        (Before(1), 50, 1, [], False),
    ],
)
async def test_a_page_is_bounded_by_its_bytes_but_never_empty_if_there_is_more(
    log: FakeMessageLog, wanted: Range, limit: int, max_bytes: int, seqs: list[int], has_more: bool
) -> None:
    page = await ReadHistory(log, max_bytes).page(ROOM, wanted, limit)
    assert [entry.seq for entry in page.entries] == seqs
    assert page.has_more is has_more
    assert page.head == 10


@pytest.mark.parametrize("wanted", [NEWEST, Before(1), After(0)])
async def test_a_page_of_an_empty_log_is_empty(wanted: Range) -> None:
    page = await ReadHistory(FakeMessageLog({}), PLENTY).page(ROOM, wanted, 50)
    assert (page.head, page.entries, page.has_more) == (0, [], False)


async def test_heads_are_positions(log: FakeMessageLog) -> None:
    assert await ReadHistory(log, PLENTY).heads([ROOM.room_id]) == {ROOM.room_id: Position(ROOM.epoch, 10)}


async def test_reading_is_unavailable_without_the_store(log: FakeMessageLog) -> None:
    history = ReadHistory(log, PLENTY)
    log.faults.append(Unreachable())
    with pytest.raises(StoreUnavailableError):
        await history.page(ROOM, NEWEST, 50)
    log.faults.append(Unreachable())
    with pytest.raises(StoreUnavailableError):
        await history.heads([ROOM.room_id])
