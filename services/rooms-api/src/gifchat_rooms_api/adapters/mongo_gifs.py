"""Records of GIFs in MongoDB.

Collection `gifs`, one document per GIF; `_id` is the SHA-256 of its bytes:
{_id, format, width, height, frames, created_at, last_used_at,
 file: {id: ObjectId of the blob, size, digest}, still: {id, size, digest}}

Collection `gif_leftovers`, one document per unfinished upload or removal:
{_id, gif: id of the GIF, files: [ObjectIds of the blobs], since}
"""

from collections.abc import Sequence
from datetime import datetime

from bson import ObjectId
from pymongo import AsyncMongoClient, IndexModel, ReturnDocument

from gifchat_contracts.ids import GifId
from gifchat_rooms_api.adapters.mongo_connection import Document, majority_database, repeatable
from gifchat_rooms_api.domain.gif import Format, StoredGif
from gifchat_rooms_api.ports import BlobId, BlobRef, GifRecord, PendingBlobs

COLLECTION, PENDING_COLLECTION = "gifs", "gif_leftovers"
MESSAGES = "messages"
"""The collection whose `gif.id` refers to a GIF. `mongo_messages` creates the index for this lookup."""

GIFS_PER_SWEEP = 100
TIMEOUT_S = 5.0

_SWEEP_TIMEOUT_S = 30.0


class MongoGifs:
    """`ports.Gifs` on MongoDB."""

    def __init__(self, client: AsyncMongoClient[Document], database: str) -> None:
        majority = majority_database(client, database)
        self._gifs, self._pending = majority[COLLECTION], majority[PENDING_COLLECTION]

    async def create_indexes(self) -> None:
        """Create the indexes that sweeps need; idempotent."""
        with repeatable(TIMEOUT_S):
            await self._gifs.create_indexes([IndexModel([("last_used_at", 1)], name="last_used_at")])
            await self._pending.create_indexes([IndexModel([("since", 1)], name="since")])

    async def get(self, gif_id: GifId) -> GifRecord | None:
        with repeatable(TIMEOUT_S):
            document = await self._gifs.find_one({"_id": gif_id})
        return None if document is None else _record(document)

    async def use(self, gif_id: GifId, now: datetime) -> StoredGif | None:
        with repeatable(TIMEOUT_S):
            document = await self._gifs.find_one_and_update({"_id": gif_id}, {"$max": {"last_used_at": now}})
        return None if document is None else _record(document).gif

    async def add(self, record: GifRecord, now: datetime) -> GifRecord:
        fields = {
            "format": record.gif.format.value,
            "width": record.gif.width,
            "height": record.gif.height,
            "frames": record.gif.frames,
            "created_at": now,
            "file": _blob_document(record.file),
            "still": _blob_document(record.still),
        }
        with repeatable(TIMEOUT_S):
            kept = await self._gifs.find_one_and_update(
                {"_id": record.gif.gif_id},
                {"$setOnInsert": fields, "$max": {"last_used_at": now}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        if kept is None:
            raise RuntimeError("the upsert returned no document")
        return _record(kept)

    async def unreferenced(self, unused_since: datetime, now: datetime) -> Sequence[GifRecord]:
        """See `ports.Gifs`.

        Marks the GIFs that a message shows as used, so that the next sweeps do not look them up again.
        """
        pipeline: list[Document] = [
            {"$match": {"last_used_at": {"$lt": unused_since}}},
            {"$sort": {"last_used_at": 1}},
            {"$limit": GIFS_PER_SWEEP},
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
        with repeatable(_SWEEP_TIMEOUT_S):
            unused = await (await self._gifs.aggregate(pipeline)).to_list()
            shown = [document["_id"] for document in unused if document["shown"]]
            await self._gifs.update_many({"_id": {"$in": shown}}, {"$max": {"last_used_at": now}})
        return [_record(document) for document in unused if not document["shown"]]

    async def remove(self, record: GifRecord, unused_since: datetime) -> bool:
        still_unused = {
            "_id": record.gif.gif_id,
            "file.id": ObjectId(record.file.blob_id),
            "last_used_at": {"$lt": unused_since},
        }
        with repeatable(TIMEOUT_S):
            return (await self._gifs.delete_one(still_unused)).deleted_count == 1

    async def mark_pending(self, gif_id: GifId, blob_ids: Sequence[BlobId], now: datetime) -> str:
        pending = {"_id": ObjectId(), "gif": gif_id, "files": [ObjectId(blob_id) for blob_id in blob_ids], "since": now}
        with repeatable(TIMEOUT_S):
            await self._pending.insert_one(pending)
        return str(pending["_id"])

    async def clear_pending(self, pending_id: str) -> None:
        with repeatable(TIMEOUT_S):
            await self._pending.delete_one({"_id": ObjectId(pending_id)})

    async def stale_pending(self, before: datetime) -> Sequence[PendingBlobs]:
        with repeatable(TIMEOUT_S):
            cursor = self._pending.find({"since": {"$lt": before}}).sort("since", 1).limit(GIFS_PER_SWEEP)
            return [
                PendingBlobs(
                    pending_id=str(document["_id"]),
                    gif_id=GifId(document["gif"]),
                    blob_ids=tuple(BlobId(str(file)) for file in document["files"]),
                )
                async for document in cursor
            ]


def _blob_document(ref: BlobRef) -> Document:
    return {"id": ObjectId(ref.blob_id), "size": ref.size, "digest": ref.digest}


def _blob_ref(document: Document) -> BlobRef:
    return BlobRef(BlobId(str(document["id"])), int(document["size"]), str(document["digest"]))


def _record(document: Document) -> GifRecord:
    file = _blob_ref(document["file"])
    width, height, frames = (int(document[name]) for name in ("width", "height", "frames"))
    gif = StoredGif(GifId(document["_id"]), Format(document["format"]), file.size, width, height, frames)
    return GifRecord(gif, file, _blob_ref(document["still"]))
