"""GridFS details that the port's suite does not cover."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from bson import ObjectId
from pymongo import AsyncMongoClient

from gifchat_rooms_api.adapters.mongo_blobs import MongoBlobs
from gifchat_rooms_api.ports import BlobId, StoreUnavailableError

pytestmark = pytest.mark.servers

BLOB_ID = BlobId(str(ObjectId()))
DATA = b"GIF89a" * 100


@pytest.fixture
async def client(mongo_url: str) -> AsyncIterator[AsyncMongoClient[dict[str, Any]]]:
    async with AsyncMongoClient[dict[str, Any]](mongo_url, tz_aware=True) as client:
        yield client


async def test_a_blob_that_lost_its_chunks_is_unavailable_instead_of_short(
    client: AsyncMongoClient[dict[str, Any]], mongo_database: str
) -> None:
    blobs = MongoBlobs(client, mongo_database)
    await blobs.put(BLOB_ID, DATA)
    blob = await blobs.open(BLOB_ID)
    assert blob is not None
    await client[mongo_database]["gif_files.chunks"].delete_many({})
    with pytest.raises(StoreUnavailableError):
        async for _ in blob.read(0, len(DATA)):
            pass


async def test_deleting_removes_the_chunks_of_an_interrupted_put(
    client: AsyncMongoClient[dict[str, Any]], mongo_database: str
) -> None:
    blobs = MongoBlobs(client, mongo_database)
    await blobs.put(BLOB_ID, DATA)
    await client[mongo_database]["gif_files.files"].delete_many({})
    assert await blobs.open(BLOB_ID) is None
    await blobs.delete(BLOB_ID)
    assert await client[mongo_database]["gif_files.chunks"].count_documents({}) == 0
