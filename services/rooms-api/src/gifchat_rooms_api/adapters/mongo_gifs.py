"""GIFs in MongoDB: their records, and the addresses under which rooms serve them.

Collection `gifs`, one document per GIF; `_id` is the SHA-256 of its bytes:
{_id, format, width, height, frames, created_at, last_used_at,
 file: {id: ObjectId of the blob, size, digest}, still: {id, size, digest}}

Collection `gif_leftovers`, one document per unfinished upload or removal:
{_id, gif: id of the GIF, files: [ObjectIds of the blobs], since}

Collection `gif_uploads`, one document per room, GIF and user:
{_id: "<room>:<gif>:<user>", gif, user, expires_at}. MongoDB removes expired ones.
"""

from collections.abc import Sequence
from datetime import datetime

from bson import ObjectId
from pymongo import AsyncMongoClient, IndexModel, ReturnDocument

from gifchat_contracts.ids import GifId, RoomId, UserId
from gifchat_rooms_api.adapters.mongo_connection import Document, majority_database, repeatable
from gifchat_rooms_api.domain.gif import Format, StoredGif
from gifchat_rooms_api.ports import BlobId, BlobRef, GifAddress, GifRecord, PendingBlobs

COLLECTION, PENDING_COLLECTION = "gifs", "gif_leftovers"
UPLOADS_COLLECTION = "gif_uploads"
UPLOAD_INDEXES = [
    IndexModel([("gif", 1), ("user", 1)], name="gif_user"),
    IndexModel([("expires_at", 1)], name="expires_at", expireAfterSeconds=0),
]
ROOMS, MESSAGES = "rooms", "messages"
"""A message's `gif.id` is the GIF that it shows. `mongo_messages` creates the indexes for the lookups here."""

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


class MongoGifAddresses:
    """`ports.GifAddresses` on MongoDB."""

    def __init__(self, client: AsyncMongoClient[Document], database: str) -> None:
        majority = majority_database(client, database)
        self._rooms, self._messages, self._uploads = majority[ROOMS], majority[MESSAGES], majority[UPLOADS_COLLECTION]

    async def create_indexes(self) -> None:
        """Create the indexes of the uploads; idempotent."""
        with repeatable(TIMEOUT_S):
            await self._uploads.create_indexes(UPLOAD_INDEXES)

    async def find(self, room_id: RoomId, gif_id: GifId, now: datetime) -> GifAddress | None:
        """See the port. One round trip for a GIF that a message shows."""
        with repeatable(TIMEOUT_S):
            rows = await (await self._rooms.aggregate(address_pipeline(room_id, gif_id))).to_list()
            if not rows or not rows[0]["gif"]:
                return None
            record, shown = _record(rows[0]["gif"][0]), bool(rows[0]["shown"])
            if shown or await self._only_uploaded(room_id, gif_id, now):
                return GifAddress(record, shown)
        return None

    async def add_upload(self, room_id: RoomId, user_id: UserId, gif_id: GifId, until: datetime) -> None:
        upload = {"_id": f"{room_id}:{gif_id}:{user_id}", "gif": gif_id, "user": user_id, "expires_at": until}
        with repeatable(TIMEOUT_S):
            await self._uploads.replace_one({"_id": upload["_id"]}, upload, upsert=True)

    async def may_post(self, user_id: UserId, gif_id: GifId, now: datetime) -> bool:
        uploaded = {"gif": gif_id, "user": user_id, "expires_at": {"$gt": now}}
        with repeatable(TIMEOUT_S):
            return (
                await self._uploads.find_one(uploaded, {"_id": 1}) is not None
                or await self._messages.find_one({"gif.id": gif_id}, {"_id": 1}) is not None
            )

    async def _only_uploaded(self, room_id: RoomId, gif_id: GifId, now: datetime) -> bool:
        of_this_gif = {"$gt": f"{room_id}:{gif_id}:", "$lt": f"{room_id}:{gif_id};"}
        if await self._uploads.find_one({"_id": of_this_gif, "expires_at": {"$gt": now}}, {"_id": 1}) is None:
            return False
        deleted = {"room": ObjectId(room_id), "deleted_gif": gif_id}
        return await self._messages.find_one(deleted, {"_id": 1}) is None


def address_pipeline(room_id: RoomId, gif_id: GifId) -> list[Document]:
    """Return the aggregation on `rooms`: the record of the GIF, and one message of the room that shows it."""
    room = ObjectId(room_id)
    showing: list[Document] = [
        {"$match": {"room": room, "gif.id": gif_id}},
        {"$limit": 1},
        {"$project": {"_id": 1}},
    ]
    return [
        {"$match": {"_id": room}},
        {"$lookup": {"from": MESSAGES, "pipeline": showing, "as": "shown"}},
        {"$lookup": {"from": COLLECTION, "pipeline": [{"$match": {"_id": gif_id}}], "as": "gif"}},
        {"$project": {"_id": 0, "shown": 1, "gif": 1}},
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
