"""`gifchat_rooms_api.ports.BlobStore`: one suite for the fake and for MongoDB."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from bson import ObjectId
from pymongo import AsyncMongoClient

from gifchat_rooms_api.adapters.mongo_blobs import MongoBlobs
from gifchat_rooms_api.ports import Blob, BlobId, BlobStore, StoreUnavailableError
from gifchat_testkit.fakes.blobs import FakeBlobs


@pytest.fixture(params=["fake", pytest.param("mongo", marks=pytest.mark.servers)])
async def blobs(request: pytest.FixtureRequest) -> AsyncIterator[BlobStore]:
    if request.param == "fake":
        yield FakeBlobs()
        return
    mongo_url, database = request.getfixturevalue("mongo_url"), request.getfixturevalue("mongo_database")
    async with AsyncMongoClient[dict[str, Any]](mongo_url, tz_aware=True) as client:
        yield MongoBlobs(client, database)


def new_id() -> BlobId:
    return BlobId(str(ObjectId()))


async def content(blob: Blob | None, start: int, stop: int) -> bytes:
    assert blob is not None
    return b"".join([piece async for piece in blob.read(start, stop)])


async def test_a_stored_blob_can_be_read(blobs: BlobStore) -> None:
    blob_id = new_id()
    await blobs.put(blob_id, b"GIF89a...")
    assert await content(await blobs.open(blob_id), 0, 9) == b"GIF89a..."


async def test_a_missing_blob_is_none(blobs: BlobStore) -> None:
    assert await blobs.open(new_id()) is None


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 600_000), (260_000, 270_000), (261_120, 261_121), (5, 5)])
async def test_a_range_is_read_across_pieces(blobs: BlobStore, start: int, stop: int) -> None:
    data = bytes(number % 251 for number in range(600_000))
    blob_id = new_id()
    await blobs.put(blob_id, data)
    assert await content(await blobs.open(blob_id), start, stop) == data[start:stop]


async def test_reading_past_the_end_is_an_error(blobs: BlobStore) -> None:
    blob_id = new_id()
    await blobs.put(blob_id, b"short")
    with pytest.raises(StoreUnavailableError):
        await content(await blobs.open(blob_id), 0, 6)


async def test_blobs_with_the_same_content_are_independent(blobs: BlobStore) -> None:
    first, second = new_id(), new_id()
    for blob_id in (first, second):
        await blobs.put(blob_id, b"same")
    await blobs.delete(first)
    assert await blobs.open(first) is None
    assert await content(await blobs.open(second), 0, 4) == b"same"


async def test_deleting_a_missing_blob_is_a_no_op(blobs: BlobStore) -> None:
    await blobs.delete(new_id())
