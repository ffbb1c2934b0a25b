"""`gifchat_rooms_api.ports.Gifs`: one suite for the fake and for MongoDB."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from bson import ObjectId
from pymongo import AsyncMongoClient

from gifchat_contracts.ids import GifId, RoomId, UserId
from gifchat_rooms_api.adapters.mongo_gifs import MongoGifs
from gifchat_rooms_api.adapters.mongo_messages import MongoMessages
from gifchat_rooms_api.domain.gif import Format, StoredGif
from gifchat_rooms_api.domain.message import Draft, Gif, LogEntry, Message
from gifchat_rooms_api.ports import BlobId, BlobRef, GifRecord, Gifs, PendingBlobs
from gifchat_testkit.fakes.gifs import FakeGifs

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass
class Store:
    gifs: Gifs
    show: Callable[[StoredGif], Awaitable[None]]
    """Store a message that shows the GIF."""


@pytest.fixture(params=["fake", pytest.param("mongo", marks=pytest.mark.servers)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "fake":
        fake = FakeGifs()

        async def show_in_fake(gif: StoredGif) -> None:
            fake.shown.add(gif.gif_id)

        yield Store(fake, show_in_fake)
        return
    mongo_url, database = request.getfixturevalue("mongo_url"), request.getfixturevalue("mongo_database")
    async with AsyncMongoClient[dict[str, Any]](mongo_url, tz_aware=True) as client:
        messages, gifs = MongoMessages(client, database), MongoGifs(client, database)
        await messages.create_indexes()
        await gifs.create_indexes()

        async def show_in_mongo(gif: StoredGif) -> None:
            content = Gif(gif.gif_id, gif.file, gif.width, gif.height, gif.frames)
            draft = Draft(str(ObjectId()), UserId("a" * 24), "key", Message("#86362d", content))
            await messages.append(RoomId(str(ObjectId())), [LogEntry(1, NOW, draft)])

        yield Store(gifs, show_in_mongo)


def blob_ref(data: bytes) -> BlobRef:
    return BlobRef(BlobId(str(ObjectId())), len(data), sha256(data).hexdigest())


def record_of(data: bytes, gif_format: Format = Format.GIF) -> GifRecord:
    gif = StoredGif(GifId(sha256(data).hexdigest()), gif_format, len(data), 320, 240, 12)
    return GifRecord(gif, blob_ref(data), blob_ref(b"still of " + data))


@pytest.mark.parametrize("gif_format", list(Format))
async def test_an_added_record_comes_back_unchanged(store: Store, gif_format: Format) -> None:
    record = record_of(b"x", gif_format)
    assert await store.gifs.add(record, NOW) == record
    assert await store.gifs.get(record.gif.gif_id) == record
    assert await store.gifs.use(record.gif.gif_id, NOW) == record.gif


async def test_a_missing_gif_is_none(store: Store) -> None:
    assert await store.gifs.get(GifId("ab" * 32)) is None
    assert await store.gifs.use(GifId("ab" * 32), NOW) is None


async def test_many_uploads_of_a_gif_keep_one_record(store: Store) -> None:
    records = [record_of(b"same") for _ in range(8)]
    kept = await asyncio.gather(*(store.gifs.add(record, NOW) for record in records))
    assert len({record.file.blob_id for record in kept}) == 1
    assert kept[0] in records
    assert await store.gifs.add(record_of(b"same"), NOW) == kept[0]


async def test_an_unused_gif_is_unreferenced(store: Store) -> None:
    record = await store.gifs.add(record_of(b"x"), NOW)
    assert await store.gifs.unreferenced(NOW, NOW) == []
    assert await store.gifs.unreferenced(NOW + HOUR, NOW) == [record]


async def test_a_gif_that_a_message_shows_counts_as_used_now(store: Store) -> None:
    shown, other = await store.gifs.add(record_of(b"shown"), NOW), await store.gifs.add(record_of(b"other"), NOW)
    await store.show(shown.gif)
    assert await store.gifs.unreferenced(NOW + HOUR, NOW + 2 * HOUR) == [other]
    assert not await store.gifs.remove(shown, NOW + HOUR)


async def test_using_or_adding_a_gif_again_keeps_it(store: Store) -> None:
    used, again = await store.gifs.add(record_of(b"used"), NOW), await store.gifs.add(record_of(b"again"), NOW)
    await store.gifs.use(used.gif.gif_id, NOW + 2 * HOUR)
    await store.gifs.add(record_of(b"again"), NOW + 2 * HOUR)
    assert await store.gifs.unreferenced(NOW + HOUR, NOW) == []
    assert not await store.gifs.remove(used, NOW + HOUR)
    assert not await store.gifs.remove(again, NOW + HOUR)


async def test_a_use_with_a_late_clock_does_not_shorten_the_lifetime(store: Store) -> None:
    record = await store.gifs.add(record_of(b"x"), NOW + 2 * HOUR)
    await store.gifs.use(record.gif.gif_id, NOW)
    assert await store.gifs.unreferenced(NOW + HOUR, NOW) == []


async def test_a_record_is_removed_once(store: Store) -> None:
    record = await store.gifs.add(record_of(b"x"), NOW)
    assert await store.gifs.remove(record, NOW + HOUR)
    assert not await store.gifs.remove(record, NOW + HOUR)
    assert await store.gifs.get(record.gif.gif_id) is None


async def test_removing_a_record_spares_its_successor(store: Store) -> None:
    first = await store.gifs.add(record_of(b"x"), NOW)
    await store.gifs.remove(first, NOW + HOUR)
    second = await store.gifs.add(record_of(b"x"), NOW)
    assert not await store.gifs.remove(first, NOW + HOUR)
    assert await store.gifs.get(first.gif.gif_id) == second


async def test_pending_blobs_become_stale_until_they_are_cleared(store: Store) -> None:
    record = record_of(b"x")
    later = await store.gifs.mark_pending(record.gif.gif_id, record.blob_ids, NOW + HOUR)
    first = await store.gifs.mark_pending(record.gif.gif_id, record.blob_ids, NOW)
    assert await store.gifs.stale_pending(NOW) == []
    assert await store.gifs.stale_pending(NOW + HOUR) == [PendingBlobs(first, record.gif.gif_id, record.blob_ids)]
    assert [each.pending_id for each in await store.gifs.stale_pending(NOW + 2 * HOUR)] == [first, later]
    for _ in range(2):
        await store.gifs.clear_pending(first)
    assert [each.pending_id for each in await store.gifs.stale_pending(NOW + 2 * HOUR)] == [later]
