"""GIFs in MongoDB: one record per GIF, its bytes and its still in GridFS.

- `gifs`: `_id` is the SHA-256 of the bytes, so there is one record per GIF. It names the two GridFS files that belong
  to it. Two puts at once each write files of their own; the upsert of the record decides which of them stay.
- `gif_leftovers`: GridFS files that may belong to nobody, written down before they are written or orphaned, and crossed
  out afterwards. A process that dies in between leaves its entry, and the next sweep follows it.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import pymongo
from bson import ObjectId
from gridfs.asynchronous import AsyncGridFSBucket, AsyncGridOut
from gridfs.errors import NoFile
from pymongo import AsyncMongoClient, IndexModel, ReturnDocument, WriteConcern
from pymongo.errors import InvalidOperation, PyMongoError
from pymongo.read_concern import ReadConcern

from gifchat_contracts.ids import GifId
from gifchat_rooms_api.domain.gif import Format, StoredGif
from gifchat_rooms_api.ports import GifFile, StoreClosedError, StoreUnavailableError

COLLECTION, LEFTOVERS, BUCKET = "gifs", "gif_leftovers", "gif_files"
MESSAGES = "messages"
"""Where `gif.id` refers to a GIF; `mongo_messages` keeps the index that finding it rests on."""

SWEEP_AT_ONCE = 100

_TIMEOUT_S = 5.0
_PUT_TIMEOUT_S = 30.0
_PIECE_BYTES = 255 * 1024

_Document = dict[str, Any]


class MongoGifs:
    """`ports.GifStore` on MongoDB."""

    def __init__(self, client: AsyncMongoClient[_Document], database: str) -> None:
        self._database = client.get_database(
            database, read_concern=ReadConcern("majority"), write_concern=WriteConcern(w="majority", j=True)
        )
        self._gifs = self._database[COLLECTION]
        self._leftovers = self._database[LEFTOVERS]
        self._bucket = AsyncGridFSBucket(self._database, BUCKET)

    async def create_indexes(self) -> None:
        """Create what sweeping rests on; does nothing where it is there already."""
        with _mongo(_TIMEOUT_S):
            await self._gifs.create_indexes([IndexModel([("last_used_at", 1)], name="last_used_at")])
            await self._leftovers.create_indexes([IndexModel([("since", 1)], name="since")])

    async def use(self, gif_id: GifId, now: datetime) -> StoredGif | None:
        """See `ports.GifStore`."""
        with _mongo(_TIMEOUT_S):
            document = await self._gifs.find_one_and_update({"_id": gif_id}, {"$max": {"last_used_at": now}})
        return None if document is None else _stored_gif(document)

    async def put(self, gif: StoredGif, data: bytes, still: bytes, now: datetime) -> None:
        """See `ports.GifStore`."""
        file, still_file = ObjectId(), ObjectId()
        record = {
            "format": gif.format.value,
            "width": gif.width,
            "height": gif.height,
            "frames": gif.frames,
            "created_at": now,
            "file": {"id": file, "size": gif.size, "digest": gif.gif_id},
            "still": {"id": still_file, "size": len(still), "digest": sha256(still).hexdigest()},
        }
        with _mongo(_PUT_TIMEOUT_S):
            leftover = await self._write_down(gif.gif_id, (file, still_file), now)
            await self._bucket.upload_from_stream_with_id(file, gif.file, data)
            await self._bucket.upload_from_stream_with_id(still_file, f"{gif.gif_id}.still.png", still)
            kept = await self._gifs.find_one_and_update(
                {"_id": gif.gif_id},
                {"$setOnInsert": record, "$max": {"last_used_at": now}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
            if kept is None or kept["file"]["id"] != file:
                await self._delete_files((file, still_file))
            await self._leftovers.delete_one({"_id": leftover})

    async def open(self, gif_id: GifId, extension: str) -> GifFile | None:
        """See `ports.GifStore`."""
        with _mongo(_TIMEOUT_S):
            document = await self._gifs.find_one({"_id": gif_id, "format": extension})
            if document is None:
                return None
            return await self._open(document["file"], Format(document["format"]).content_type)

    async def open_still(self, gif_id: GifId) -> GifFile | None:
        """See `ports.GifStore`."""
        with _mongo(_TIMEOUT_S):
            document = await self._gifs.find_one({"_id": gif_id})
            return None if document is None else await self._open(document["still"], Format.PNG.content_type)

    async def remove_unreferenced(self, unused_since: datetime, in_flight_since: datetime, now: datetime) -> int:
        """See `ports.GifStore`.

        A GIF that a message shows counts as used now, so each is looked at once per time that unused ones are kept.
        """
        with _mongo(_PUT_TIMEOUT_S):
            candidates = await self._unused(unused_since)
            shown = [gif["_id"] for gif in candidates if gif["shown"]]
            await self._gifs.update_many({"_id": {"$in": shown}}, {"$max": {"last_used_at": now}})
            removed = 0
            for gif in candidates:
                removed += not gif["shown"] and await self._remove(gif, unused_since, now)
            await self._remove_leftovers(in_flight_since)
        return removed

    async def _unused(self, since: datetime) -> Sequence[_Document]:
        pipeline: list[_Document] = [
            {"$match": {"last_used_at": {"$lt": since}}},
            {"$sort": {"last_used_at": 1}},
            {"$limit": SWEEP_AT_ONCE},
            {
                "$lookup": {
                    "from": MESSAGES,
                    "localField": "_id",
                    "foreignField": "gif.id",
                    "pipeline": [{"$limit": 1}, {"$project": {"_id": 1}}],
                    "as": "shown",
                }
            },
        ]
        return await (await self._gifs.aggregate(pipeline)).to_list()

    async def _remove(self, gif: _Document, unused_since: datetime, now: datetime) -> bool:
        files = (gif["file"]["id"], gif["still"]["id"])
        leftover = await self._write_down(gif["_id"], files, now)
        # A message that was stored after the look for one has marked the GIF as used before that: the condition fails.
        still_unused = {"_id": gif["_id"], "file.id": gif["file"]["id"], "last_used_at": {"$lt": unused_since}}
        removed = (await self._gifs.delete_one(still_unused)).deleted_count == 1
        if removed:
            await self._delete_files(files)
        await self._leftovers.delete_one({"_id": leftover})
        return removed

    async def _remove_leftovers(self, since: datetime) -> None:
        async for leftover in self._leftovers.find({"since": {"$lt": since}}).sort("since", 1).limit(SWEEP_AT_ONCE):
            kept = await self._gifs.find_one({"_id": leftover["gif"]})
            if kept is None or kept["file"]["id"] not in leftover["files"]:
                await self._delete_files(leftover["files"])
            await self._leftovers.delete_one({"_id": leftover["_id"]})

    async def _write_down(self, gif_id: str, files: Sequence[ObjectId], now: datetime) -> ObjectId:
        leftover = ObjectId()
        await self._leftovers.insert_one({"_id": leftover, "gif": gif_id, "files": list(files), "since": now})
        return leftover

    async def _delete_files(self, files: Iterable[ObjectId]) -> None:
        # Not through the bucket: it refuses a file whose upload ended between its chunks and its entry.
        for file in files:
            await self._database[f"{BUCKET}.files"].delete_one({"_id": file})
            await self._database[f"{BUCKET}.chunks"].delete_many({"files_id": file})

    async def _open(self, file: _Document, content_type: str) -> GifFile | None:
        try:
            stream = await self._bucket.open_download_stream(file["id"])
        except NoFile:
            return None
        return _OpenFile(stream, content_type, int(file["size"]), str(file["digest"]))


@dataclass(frozen=True, slots=True)
class _OpenFile:
    stream: AsyncGridOut
    content_type: str
    size: int
    digest: str

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """See `ports.GifFile`."""
        with _mongo(_TIMEOUT_S):
            await self.stream.seek(start)
        left = stop - start
        while left > 0:
            with _mongo(_TIMEOUT_S):
                piece = await self.stream.read(min(left, _PIECE_BYTES))
            if not piece:
                raise StoreUnavailableError("the file is shorter than its record says")
            left -= len(piece)
            yield piece


@contextmanager
def _mongo(timeout_s: float) -> Iterator[None]:
    try:
        with pymongo.timeout(timeout_s):
            yield
    except InvalidOperation as error:
        raise StoreClosedError(str(error)) from error
    except PyMongoError as error:
        raise StoreUnavailableError(str(error)) from error


def _stored_gif(document: _Document) -> StoredGif:
    return StoredGif(
        gif_id=GifId(document["_id"]),
        format=Format(document["format"]),
        size=int(document["file"]["size"]),
        width=int(document["width"]),
        height=int(document["height"]),
        frames=int(document["frames"]),
    )
