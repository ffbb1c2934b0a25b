"""Blobs in MongoDB: one GridFS file per blob, in the bucket `gif_files`. A blob's id is the file's ObjectId."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from bson import ObjectId
from gridfs.asynchronous import AsyncGridFSBucket, AsyncGridOut
from gridfs.errors import NoFile
from pymongo import AsyncMongoClient

from gifchat_rooms_api.adapters.mongo_connection import Document, majority_database, repeatable
from gifchat_rooms_api.ports import Blob, BlobId, StoreUnavailableError

BUCKET = "gif_files"
PUT_TIMEOUT_S = 20.0

_TIMEOUT_S = 5.0
_PIECE_BYTES = 255 * 1024


class MongoBlobs:
    """`ports.BlobStore` on GridFS."""

    def __init__(self, client: AsyncMongoClient[Document], database: str) -> None:
        self._database = majority_database(client, database)
        self._bucket = AsyncGridFSBucket(self._database, BUCKET)

    async def put(self, blob_id: BlobId, data: bytes) -> None:
        with repeatable(PUT_TIMEOUT_S):
            await self._bucket.upload_from_stream_with_id(ObjectId(blob_id), blob_id, data)

    async def open(self, blob_id: BlobId) -> Blob | None:
        with repeatable(_TIMEOUT_S):
            try:
                return _GridFile(await self._bucket.open_download_stream(ObjectId(blob_id)))
            except NoFile:
                return None

    async def delete(self, blob_id: BlobId) -> None:
        # Do not delete through the bucket: it raises an error if an upload stopped before it wrote the file's entry.
        with repeatable(PUT_TIMEOUT_S):
            await self._database[f"{BUCKET}.files"].delete_one({"_id": ObjectId(blob_id)})
            await self._database[f"{BUCKET}.chunks"].delete_many({"files_id": ObjectId(blob_id)})


@dataclass(frozen=True, slots=True)
class _GridFile:
    stream: AsyncGridOut

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        with repeatable(_TIMEOUT_S):
            await self.stream.seek(start)
        left = stop - start
        while left > 0:
            with repeatable(_TIMEOUT_S):
                piece = await self.stream.read(min(left, _PIECE_BYTES))
            if not piece:
                raise StoreUnavailableError("the blob is shorter than its record says")
            left -= len(piece)
            yield piece
