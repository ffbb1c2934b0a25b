"""Copies of rooms: how long they are used, and who shares a read."""

import asyncio
from dataclasses import dataclass, field

import pytest

from gifchat_contracts.ids import RoomId
from gifchat_rooms_api.domain.room import Room
from gifchat_rooms_api.ports import StoreUnavailableError
from gifchat_rooms_api.use_cases import recent_rooms
from gifchat_rooms_api.use_cases.recent_rooms import MAX_AGE_S, RecentRooms
from gifchat_testkit.fakes.rooms import room_of

ROOM, OTHER = RoomId("a" * 24), RoomId("b" * 24)


@dataclass
class Store:
    """`ports.Rooms` that counts reads, and answers when the test allows it."""

    reads: list[RoomId] = field(default_factory=list)
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    failing: bool = False
    now_s: float = 100.0

    async def get(self, room_id: RoomId) -> Room | None:
        self.reads.append(room_id)
        await self.answers.wait()
        if self.failing:
            raise StoreUnavailableError("down")
        return None if room_id == OTHER else room_of(room_id)


@pytest.fixture
def store() -> Store:
    store = Store()
    store.answers.set()
    return store


@pytest.fixture
def rooms(store: Store) -> RecentRooms:
    return RecentRooms(store, lambda: store.now_s)


async def test_a_copy_is_used_until_it_is_too_old(store: Store, rooms: RecentRooms) -> None:
    first = await rooms.get(ROOM)
    store.now_s += MAX_AGE_S
    assert await rooms.get(ROOM) is first
    store.now_s += 0.001
    assert await rooms.get(ROOM) is not first
    assert store.reads == [ROOM, ROOM]


async def test_the_age_counts_from_before_the_read(store: Store, rooms: RecentRooms) -> None:
    store.answers.clear()
    reading = asyncio.create_task(rooms.get(ROOM))
    await asyncio.sleep(0)
    store.now_s += MAX_AGE_S + 0.001
    store.answers.set()
    await reading
    await rooms.get(ROOM)
    assert store.reads == [ROOM, ROOM]


async def test_requests_at_the_same_time_share_a_read(store: Store, rooms: RecentRooms) -> None:
    store.answers.clear()
    readers = [asyncio.create_task(rooms.get(ROOM)) for _ in range(3)]
    await asyncio.sleep(0)
    readers[0].cancel()
    store.answers.set()
    await asyncio.wait(readers)
    assert readers[0].cancelled()
    assert [reader.result() for reader in readers[1:]] == [room_of(ROOM)] * 2
    assert store.reads == [ROOM]


async def test_a_failure_reaches_every_reader_and_is_not_kept(store: Store, rooms: RecentRooms) -> None:
    store.failing = True
    store.answers.clear()
    readers = [asyncio.create_task(rooms.get(ROOM)) for _ in range(2)]
    await asyncio.sleep(0)
    store.answers.set()
    await asyncio.wait(readers)
    assert [type(reader.exception()) for reader in readers] == [StoreUnavailableError] * 2
    store.failing = False
    assert await rooms.get(ROOM) == room_of(ROOM)


async def test_a_missing_room_is_remembered_too(store: Store, rooms: RecentRooms) -> None:
    assert [await rooms.get(OTHER), await rooms.get(OTHER)] == [None, None]
    assert store.reads == [OTHER]


async def test_the_number_of_copies_is_bounded(
    store: Store, rooms: RecentRooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent_rooms, "MAX_COPIES", 1)
    for room_id in (ROOM, OTHER, ROOM):
        await rooms.get(room_id)
    assert store.reads == [ROOM, OTHER, ROOM]
