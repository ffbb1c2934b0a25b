"""The rooms' store: concurrency, atomicity and indexes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId
from pymongo import AsyncMongoClient

from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.adapters.mongo_rooms import MongoRooms
from gifchat_rooms_api.domain.moderation import FOREVER, Sanction
from gifchat_rooms_api.domain.room import NewPassword, Room, RoomPatch
from gifchat_rooms_api.ports import RoomCursor, StoreUnavailableError
from gifchat_testkit.fakes.rooms import OWNER, room_of

pytestmark = pytest.mark.servers

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
ANNE, BOB = UserId("a" * 24), UserId("b" * 24)


@pytest.fixture
async def client(mongo_url: str) -> AsyncIterator[AsyncMongoClient[dict[str, Any]]]:
    async with AsyncMongoClient[dict[str, Any]](mongo_url) as client:
        yield client


@pytest.fixture
async def rooms(client: AsyncMongoClient[dict[str, Any]], mongo_database: str) -> MongoRooms:
    store = MongoRooms(client, mongo_database)
    await store.create_indexes()
    return store


def room(**changes: Any) -> Room:
    return replace(room_of(RoomId(str(ObjectId()))), created_at=NOW, **changes)


async def added(rooms: MongoRooms, **changes: Any) -> Room:
    new = room(**changes)
    await rooms.add(new)
    return new


async def test_a_room_comes_back_unchanged(rooms: MongoRooms) -> None:
    sanctions = {
        ANNE: Sanction(banned_until=FOREVER, kicked_at=NOW, kicked_until=NOW + timedelta(minutes=1)),
        BOB: Sanction(muted_until=NOW + timedelta(hours=1)),
    }
    new = await added(rooms, password_hash="$argon2id$x", slow_mode_s=5, sanctions=sanctions)
    assert await rooms.get(new.room_id) == new
    assert await rooms.get(RoomId("0" * 24)) is None


async def test_only_a_new_password_raises_the_access_version(rooms: MongoRooms) -> None:
    new = await added(rooms)
    changed = await rooms.change(new.room_id, OWNER, RoomPatch(title="b", max_members=50, slow_mode_s=3))
    assert changed == replace(new, title="b", max_members=50, slow_mode_s=3)
    for version, password in ((2, NewPassword("hash")), (3, NewPassword(None))):
        changed = await rooms.change(new.room_id, OWNER, RoomPatch(password=password))
        assert changed is not None
        assert (changed.access_version, changed.password_hash) == (version, password.password_hash)
    assert await rooms.change(new.room_id, ANNE, RoomPatch(title="mine")) is None
    assert await rooms.change(new.room_id, ANNE, RoomPatch()) is None


async def test_only_one_of_two_concurrent_sanction_updates_succeeds(rooms: MongoRooms) -> None:
    read = await added(rooms)
    results = await asyncio.gather(
        *(rooms.replace_sanctions(read, {user_id: Sanction(banned_until=FOREVER)}) for user_id in (ANNE, BOB))
    )
    assert sorted(results) == [False, True]
    stored = await rooms.get(read.room_id)
    assert stored is not None
    assert len(stored.sanctions) == stored.sanctions_version == 1


async def test_a_removed_room_is_recorded_until_its_removal_is_finished(rooms: MongoRooms) -> None:
    new = await added(rooms)
    assert sorted(await asyncio.gather(*(rooms.remove(new.room_id) for _ in range(4)))) == [False] * 3 + [True]
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert await rooms.removed_before(later, 10) == [new.room_id]
    assert await rooms.removed_before(later - timedelta(hours=1), 10) == []
    await rooms.finish_removal(new.room_id)
    assert await rooms.removed_before(later, 10) == []


async def test_only_rooms_recorded_as_empty_long_enough_are_removed_as_empty(rooms: MongoRooms) -> None:
    empty, occupied = await added(rooms), await added(rooms)
    await rooms.record_occupancy({occupied.room_id: 2}, NOW)
    assert await rooms.occupied() == {occupied.room_id: 2}
    assert await rooms.empty_since(NOW, 10) == [empty.room_id]
    assert not await rooms.remove(occupied.room_id, empty_since=NOW + timedelta(days=1))
    assert not await rooms.remove(empty.room_id, empty_since=NOW - timedelta(milliseconds=1))
    assert await rooms.remove(empty.room_id, empty_since=NOW)


async def test_recording_an_empty_room_again_keeps_its_time(rooms: MongoRooms) -> None:
    new = await added(rooms)
    later = NOW + timedelta(hours=1)
    await rooms.record_occupancy({new.room_id: 0}, later)
    assert await rooms.empty_since(NOW, 10) == [new.room_id]
    await rooms.record_occupancy({new.room_id: 1}, later)
    assert await rooms.empty_since(later, 10) == []
    await rooms.record_occupancy({new.room_id: 0}, later)
    assert await rooms.empty_since(NOW, 10) == []
    assert await rooms.empty_since(later, 10) == [new.room_id]


async def test_recording_a_missing_room_does_not_create_it(rooms: MongoRooms) -> None:
    await rooms.record_occupancy({RoomId("0" * 24): 3}, NOW)
    assert await rooms.get(RoomId("0" * 24)) is None


async def test_rooms_created_at_the_same_moment_are_paged_once_each(rooms: MongoRooms) -> None:
    made = {(await added(rooms)).room_id for _ in range(5)}
    seen: list[RoomId] = []
    after: RoomCursor | None = None
    while page := await rooms.page("newest", "", after, 2, unentered_since=NOW):
        seen += [each.room_id for each in page]
        after = RoomCursor(round(NOW.timestamp() * 1000), seen[-1])
    assert len(seen) == 5
    assert set(seen) == made


@pytest.mark.parametrize(
    ("query", "order"),
    [
        ({}, [("created_at", -1), ("_id", -1)]),
        ({}, [("members", -1), ("_id", -1)]),
        ({"empty_since": {"$lte": NOW}, "members": 0}, [("empty_since", 1)]),
    ],
)
async def test_no_list_is_sorted_in_memory(
    rooms: MongoRooms,
    client: AsyncMongoClient[dict[str, Any]],
    mongo_database: str,
    query: dict[str, Any],
    order: list[tuple[str, int]],
) -> None:
    plan = await client[mongo_database]["rooms"].find(query).sort(order).limit(20).explain()
    stages = str(plan["queryPlanner"]["winningPlan"])
    assert "IXSCAN" in stages
    assert "'stage': 'SORT'" not in stages


async def test_reads_and_writes_are_unavailable_without_mongodb() -> None:
    async with AsyncMongoClient[dict[str, Any]]("mongodb://127.0.0.1:1/?replicaSet=rs0") as nowhere:
        rooms = MongoRooms(nowhere, "none", timeout_s=0.1)
        for attempt in (rooms.get(room().room_id), rooms.add(room())):
            with pytest.raises(StoreUnavailableError):
                await attempt
