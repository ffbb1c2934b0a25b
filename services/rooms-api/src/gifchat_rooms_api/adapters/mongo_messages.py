"""The rooms' logs in MongoDB: collection `messages`, one document per entry.

{_id, room: ObjectId, seq, kind: <codec.Kind>, created_at, user_id, client_message_id: <the draft's key>,
CHAT:         color, and one of text | gif: {id, file, width, height, frames} | deleted: true
              (deleted_gif?: id of its GIF)
CHAT_DELETED: target_seq, target_id
NOTICE:       slow_mode_s}
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo import AsyncMongoClient, IndexModel, ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.errors import PyMongoError

from gifchat_contracts.codec import Kind
from gifchat_contracts.ids import Epoch, GifId, RoomId, UserId
from gifchat_contracts.position import Position
from gifchat_rooms_api.adapters.mongo_connection import Document, majority_database, repeatable, unrepeatable, utc
from gifchat_rooms_api.domain.message import (
    Content,
    Deletion,
    Draft,
    Fact,
    Gif,
    LogEntry,
    Message,
    Redacted,
    SlowModeChange,
    Text,
    size_of,
)
from gifchat_rooms_api.ports import Appended, KeyTaken, OutcomeUnknownError, SeqTaken

COLLECTION = "messages"
INDEXES = [
    IndexModel([("room", 1), ("seq", -1)], name="room_seq", unique=True),
    IndexModel(
        [("room", 1), ("user_id", 1), ("client_message_id", 1)],
        name="room_user_key",
        unique=True,
        partialFilterExpression={"client_message_id": {"$exists": True}},
    ),
    IndexModel([("room", 1), ("user_id", 1), ("created_at", -1)], name="room_user_created_at"),
    IndexModel([("gif.id", 1)], name="gif", sparse=True),
    IndexModel([("room", 1), ("gif.id", 1)], name="room_gif", partialFilterExpression={"gif.id": {"$exists": True}}),
    IndexModel(
        [("room", 1), ("deleted_gif", 1)],
        name="room_deleted_gif",
        partialFilterExpression={"deleted_gif": {"$exists": True}},
    ),
    IndexModel([("created_at", -1), ("room", 1)], name="created_at_room"),
]

_DUPLICATE_KEY = 11_000
_REDACTION: list[Document] = [
    {"$set": {"deleted": True, "deleted_gif": {"$ifNull": ["$gif.id", "$deleted_gif"]}}},
    {"$unset": ["text", "gif"]},
]
"""Only `MongoGifAddresses` reads `deleted_gif`: an upload alone does not revive the address of a deleted GIF."""
_TIMEOUT_S = 5.0


class MongoMessages:
    """`ports.MessageLog` on MongoDB.

    Reads use read concern "majority", so that no reader sees an entry that a failover could roll back. After a
    conflict, reads also run in the session of the failed write. They then wait until a majority has the conflicting
    entry. The head that they return includes that entry and cannot be rolled back.
    """

    def __init__(self, client: AsyncMongoClient[Document], database: str, timeout_s: float = _TIMEOUT_S) -> None:
        self._client = client
        self._timeout_s = timeout_s
        majority = majority_database(client, database)
        self._database, self._rooms, self._messages = majority, majority["rooms"], majority[COLLECTION]

    async def create_indexes(self) -> None:
        """Create the indexes that this class needs for its guarantees; idempotent."""
        with repeatable(self._timeout_s):
            await self._messages.create_indexes(INDEXES)

    async def head(self, room_id: RoomId) -> int:
        with repeatable(self._timeout_s):
            return await self._head(ObjectId(room_id), None)

    async def append(self, room_id: RoomId, entries: Sequence[LogEntry]) -> Appended:
        room = ObjectId(room_id)
        with unrepeatable(self._timeout_s):
            reply = await self._insert([_document(room, entry) for entry in entries])
            if "writeErrors" not in reply:
                return Appended(len(entries), None)
            stored, index = _duplicate(reply)
            try:
                async with self._client.start_session(causal_consistency=True) as session:
                    session.advance_cluster_time(reply["$clusterTime"])
                    session.advance_operation_time(reply["operationTime"])
                    return Appended(stored, await self._conflict(room, entries[stored].draft, index, session))
            except (PyMongoError, KeyError) as error:
                raise OutcomeUnknownError("a prefix was stored; the conflict cannot be read") from error

    async def _insert(self, documents: Sequence[Document]) -> Mapping[str, Any]:
        """Insert in order until a document fails, and return the server's reply.

        `insert_many` costs a third more. The driver repeats the command if the connection is lost before the reply. The
        unique keys make that safe: a document that the first attempt stored is a duplicate in the second.

        Raises:
            OutcomeUnknownError: a majority did not confirm the write.
        """
        reply = await self._database.command(
            {
                "insert": COLLECTION,
                "documents": documents,
                "ordered": True,
                "writeConcern": self._messages.write_concern.document,
            }
        )
        if "writeConcernError" in reply:
            raise OutcomeUnknownError(str(reply["writeConcernError"]))
        return reply

    async def find(
        self, room_id: RoomId, identities: Collection[tuple[UserId, str]]
    ) -> Mapping[tuple[UserId, str], LogEntry]:
        with repeatable(self._timeout_s):
            return await self._find(ObjectId(room_id), identities, None)

    async def last_posted(
        self, room_id: RoomId, user_ids: Collection[UserId], since: datetime
    ) -> Mapping[UserId, datetime]:
        pipeline: list[Document] = [
            {
                "$match": {
                    "room": ObjectId(room_id),
                    "user_id": {"$in": list(user_ids)},
                    "created_at": {"$gt": since},
                    "kind": int(Kind.CHAT),
                }
            },
            {"$group": {"_id": "$user_id", "last": {"$max": "$created_at"}}},
        ]
        with repeatable(self._timeout_s):
            cursor = await self._messages.aggregate(pipeline)
            return {UserId(row["_id"]): utc(row["last"]) async for row in cursor}

    async def messages_of(self, room_id: RoomId, user_id: UserId, limit: int) -> Sequence[int]:
        query = {"room": ObjectId(room_id), "user_id": user_id, "kind": int(Kind.CHAT), "deleted": {"$exists": False}}
        with repeatable(self._timeout_s):
            cursor = self._messages.find(query, projection={"_id": 0, "seq": 1})
            newest = cursor.sort([("created_at", -1), ("seq", -1)]).limit(limit)
            return [int(document["seq"]) async for document in newest]

    async def redact(self, room_id: RoomId, seq: int) -> LogEntry | None:
        with unrepeatable(self._timeout_s):
            document = await self._messages.find_one_and_update(
                {"room": ObjectId(room_id), "seq": seq, "kind": int(Kind.CHAT)},
                _REDACTION,
                return_document=ReturnDocument.AFTER,
            )
        return None if document is None else _entry(document)

    async def after(self, room_id: RoomId, seq: int, limit: int, max_bytes: int) -> Sequence[LogEntry]:
        with repeatable(self._timeout_s):
            cursor = self._messages.find({"room": ObjectId(room_id), "seq": {"$gt": seq}}).sort("seq", 1).limit(limit)
            return await _up_to(max_bytes, cursor)

    async def before(self, room_id: RoomId, seq: int | None, limit: int, max_bytes: int) -> Sequence[LogEntry]:
        query: Document = {"room": ObjectId(room_id)}
        if seq is not None:
            query["seq"] = {"$lt": seq}
        with repeatable(self._timeout_s):
            cursor = self._messages.find(query).sort("seq", -1).limit(limit)
            return (await _up_to(max_bytes, cursor))[::-1]

    async def heads(self, room_ids: Collection[RoomId]) -> Mapping[RoomId, Position]:
        pipeline: list[Document] = [
            {"$match": {"_id": {"$in": [ObjectId(room_id) for room_id in room_ids]}}},
            {
                "$lookup": {
                    "from": COLLECTION,
                    "localField": "_id",
                    "foreignField": "room",
                    "pipeline": [{"$sort": {"seq": -1}}, {"$limit": 1}, {"$project": {"_id": 0, "seq": 1}}],
                    "as": "newest",
                }
            },
            {"$project": {"epoch": 1, "seq": {"$ifNull": [{"$first": "$newest.seq"}, 0]}}},
        ]
        with repeatable(self._timeout_s):
            cursor = await self._rooms.aggregate(pipeline)
            return {RoomId(str(row["_id"])): Position(Epoch(row["epoch"]), row["seq"]) async for row in cursor}

    async def written_since(self, moment: datetime) -> Collection[RoomId]:
        """See `ports.MessageLog`. An index covers this query."""
        pipeline: list[Document] = [{"$match": {"created_at": {"$gte": moment}}}, {"$group": {"_id": "$room"}}]
        with repeatable(self._timeout_s):
            cursor = await self._messages.aggregate(pipeline)
            return {RoomId(str(row["_id"])) async for row in cursor}

    async def remove_room(self, room_id: RoomId) -> None:
        with unrepeatable(self._timeout_s):
            await self._messages.delete_many({"room": ObjectId(room_id)})

    async def _conflict(
        self, room: ObjectId, draft: Draft, index: Mapping[str, Any], session: AsyncClientSession
    ) -> SeqTaken | KeyTaken:
        if "seq" in index:
            return SeqTaken(await self._head(room, session))
        found = await self._find(room, [(draft.user_id, draft.key)], session)
        return KeyTaken(found[draft.user_id, draft.key])

    async def _head(self, room: ObjectId, session: AsyncClientSession | None) -> int:
        newest = await self._messages.find_one(
            {"room": room}, projection={"_id": 0, "seq": 1}, sort=[("seq", -1)], session=session
        )
        return 0 if newest is None else int(newest["seq"])

    async def _find(
        self, room: ObjectId, identities: Collection[tuple[UserId, str]], session: AsyncClientSession | None
    ) -> dict[tuple[UserId, str], LogEntry]:
        wanted = [{"room": room, "user_id": user_id, "client_message_id": key} for user_id, key in identities]
        cursor = self._messages.find({"$or": wanted}, session=session)
        entries = [_entry(document) async for document in cursor]
        return {(entry.draft.user_id, entry.draft.key): entry for entry in entries}


async def _up_to(max_bytes: int, cursor: AsyncCursor[Document]) -> list[LogEntry]:
    """Read until the entries together exceed `max_bytes`, but at least two of them."""
    entries: list[LogEntry] = []
    total = 0
    async with cursor:
        async for document in cursor:
            entries.append(_entry(document))
            total += size_of(entries[-1])
            if total > max_bytes and len(entries) > 1:
                break
    return entries


def _duplicate(reply: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
    """Return how many documents were stored before the duplicate, and the index that it violates.

    Raises:
        OutcomeUnknownError: something else failed.
    """
    first = reply["writeErrors"][0]
    if first["code"] != _DUPLICATE_KEY:
        raise OutcomeUnknownError(str(first))
    return int(first["index"]), first["keyPattern"]


def _document(room: ObjectId, entry: LogEntry) -> Document:
    draft = entry.draft
    document: Document = {
        "_id": ObjectId(draft.entry_id),
        "room": room,
        "seq": entry.seq,
        "kind": int(draft.fact.kind),
        "created_at": entry.created_at,
        "user_id": draft.user_id,
        "client_message_id": draft.key,
    }
    match draft.fact:
        case Message(color, content):
            document["color"] = color
            match content:
                case Text(text):
                    document["text"] = text
                case Gif(gif_id, file, width, height, frames):
                    document["gif"] = {"id": gif_id, "file": file, "width": width, "height": height, "frames": frames}
                case Redacted():
                    document["deleted"] = True
        case Deletion(target_seq, target_id):
            document |= {"target_seq": target_seq, "target_id": target_id}
        case SlowModeChange(slow_mode_s):
            document["slow_mode_s"] = slow_mode_s
    return document


def _entry(document: Document) -> LogEntry:
    user_id, key = UserId(document["user_id"]), document["client_message_id"]
    draft = Draft(str(document["_id"]), user_id, key, _fact(document))
    return LogEntry(int(document["seq"]), utc(document["created_at"]), draft)


def _fact(document: Document) -> Fact:
    match Kind(document["kind"]):
        case Kind.CHAT:
            return Message(document["color"], _content(document))
        case Kind.CHAT_DELETED:
            return Deletion(document["target_seq"], document["target_id"])
        case Kind.NOTICE:
            return SlowModeChange(document["slow_mode_s"])
        case kind:
            raise ValueError(f"{kind.name} is not stored in a log")


def _content(document: Document) -> Content:
    match document:
        case {"text": str(text)}:
            return Text(text)
        case {"gif": gif}:
            return Gif(GifId(gif["id"]), gif["file"], gif["width"], gif["height"], gif.get("frames"))
        case _:
            return Redacted()
