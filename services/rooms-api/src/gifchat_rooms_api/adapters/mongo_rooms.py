"""Rooms in MongoDB.

Collection `rooms`, one document per room:
{_id, epoch, owner_id, owner_color, owner_address, title, title_folded, max, created_at, access_version, slow_mode_s,
 password_hash | none, entered, members, empty_since | none, sanctions_version,
 sanctions: {<user id>: {banned_until?: date | "forever", muted_until?: date | "forever", kicked_at?: date,
                             kicked_until?: date}, … oldest first}}

Collection `removed_rooms`, one document per removed room whose log may still exist: {_id, removed_at}.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from bson import ObjectId
from pymongo import AsyncMongoClient, IndexModel, ReturnDocument, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession

from gifchat_contracts.ids import Epoch, RoomId, UserId
from gifchat_rooms_api.adapters.mongo_connection import Document, majority_database, repeatable, unrepeatable, utc
from gifchat_rooms_api.domain.moderation import FOREVER, Sanction, Until
from gifchat_rooms_api.domain.room import Room, RoomPatch
from gifchat_rooms_api.domain.text import fold_title
from gifchat_rooms_api.ports import RoomCursor, Sort

COLLECTION = "rooms"
REMOVED_COLLECTION = "removed_rooms"
INDEXES = [
    IndexModel([("created_at", -1), ("_id", -1)], name="newest"),
    IndexModel([("members", -1), ("_id", -1)], name="members"),
    IndexModel([("empty_since", 1)], name="empty_since", sparse=True),
    IndexModel([("owner_id", 1)], name="owner"),
    IndexModel([("owner_address", 1)], name="owner_address"),
]

_TIMEOUT_S = 5.0
_BULK_UPDATES = 1_000
_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)
_SORT_FIELD: Mapping[Sort, str] = {"newest": "created_at", "members": "members"}


class MongoRooms:
    """`ports.RoomStore` on MongoDB."""

    def __init__(self, client: AsyncMongoClient[Document], database: str, timeout_s: float = _TIMEOUT_S) -> None:
        self._client = client
        self._timeout_s = timeout_s
        majority = majority_database(client, database)
        self._rooms, self._removed = majority[COLLECTION], majority[REMOVED_COLLECTION]

    async def create_indexes(self) -> None:
        """Create the indexes that the queries of this class need; idempotent."""
        with repeatable(self._timeout_s):
            await self._rooms.create_indexes(INDEXES)
            await self._removed.create_index("removed_at", name="removed_at")

    async def get(self, room_id: RoomId) -> Room | None:
        with repeatable(self._timeout_s):
            document = await self._rooms.find_one({"_id": ObjectId(room_id)})
        return None if document is None else _room(document)

    async def find(self, room_ids: Collection[RoomId]) -> Sequence[Room]:
        with repeatable(self._timeout_s):
            documents = await self._rooms.find({"_id": {"$in": list(map(ObjectId, room_ids))}}).to_list()
        return list(map(_room, documents))

    async def add(self, room: Room) -> None:
        with unrepeatable(self._timeout_s):
            await self._rooms.insert_one(_document(room))

    async def count_owned(self, owner_id: UserId, owner_address: str) -> tuple[int, int]:
        with repeatable(self._timeout_s):
            of_user = await self._rooms.count_documents({"owner_id": owner_id})
            of_address = await self._rooms.count_documents({"owner_address": owner_address})
        return of_user, of_address

    async def page(
        self, sort: Sort, title_part: str, after: RoomCursor | None, limit: int, *, unentered_since: datetime
    ) -> Sequence[Room]:
        field = _SORT_FIELD[sort]
        listed: Document = {"$or": [{"entered": {"$ne": False}}, {"created_at": {"$gte": unentered_since}}]}
        query: Document = {"$and": [listed]}
        if title_part:
            query["title_folded"] = {"$regex": re.escape(title_part)}
        if after is not None:
            key = _EPOCH_START + timedelta(milliseconds=after.key) if sort == "newest" else after.key
            later: Document = {"$or": [{field: {"$lt": key}}, {field: key, "_id": {"$lt": ObjectId(after.room_id)}}]}
            query["$and"].append(later)
        with repeatable(self._timeout_s):
            cursor = self._rooms.find(query).sort([(field, -1), ("_id", -1)]).limit(limit)
            return [_room(document) async for document in cursor]

    async def change(self, room_id: RoomId, owner_id: UserId, patch: RoomPatch) -> Room | None:
        fields = {"title": patch.title, "max": patch.max_members, "slow_mode_s": patch.slow_mode_s}
        to_set: Document = {name: value for name, value in fields.items() if value is not None}
        if patch.title is not None:
            to_set["title_folded"] = fold_title(patch.title)
        update: Document = {}
        if patch.password is not None:
            to_set["password_hash"] = patch.password.password_hash
            update["$inc"] = {"access_version": 1}
        if to_set:
            update["$set"] = to_set
        owned = {"_id": ObjectId(room_id), "owner_id": owner_id}
        if not update:
            with repeatable(self._timeout_s):
                document = await self._rooms.find_one(owned)
        else:
            with unrepeatable(self._timeout_s):
                document = await self._rooms.find_one_and_update(owned, update, return_document=ReturnDocument.AFTER)
        return None if document is None else _room(document)

    async def replace_sanctions(self, room: Room, sanctions: Mapping[UserId, Sanction]) -> bool:
        with unrepeatable(self._timeout_s):
            result = await self._rooms.update_one(
                {"_id": ObjectId(room.room_id), "sanctions_version": room.sanctions_version},
                {"$set": {"sanctions": _sanctions_document(sanctions)}, "$inc": {"sanctions_version": 1}},
            )
        return result.matched_count == 1

    async def remove(self, room_id: RoomId, *, empty_since: datetime | None = None) -> bool:
        room = ObjectId(room_id)
        query: Document = {"_id": room}
        if empty_since is not None:
            query |= {"members": 0, "empty_since": {"$lte": empty_since}}

        async def remove_and_record(session: AsyncClientSession) -> bool:
            result = await self._rooms.delete_one(query, session=session)
            if result.deleted_count == 0:
                return False
            removed_at = datetime.now(UTC)
            await self._removed.insert_one({"_id": room, "removed_at": removed_at}, session=session)
            return True

        with unrepeatable(self._timeout_s):
            async with self._client.start_session() as session:
                return await session.with_transaction(
                    remove_and_record, self._rooms.read_concern, self._rooms.write_concern
                )

    async def removed_before(self, moment: datetime, limit: int) -> Sequence[RoomId]:
        with repeatable(self._timeout_s):
            cursor = self._removed.find({"removed_at": {"$lt": moment}}).sort("removed_at", 1).limit(limit)
            return [RoomId(str(document["_id"])) async for document in cursor]

    async def finish_removal(self, room_id: RoomId) -> None:
        with unrepeatable(self._timeout_s):
            await self._removed.delete_one({"_id": ObjectId(room_id)})

    async def occupied(self) -> Mapping[RoomId, int]:
        with repeatable(self._timeout_s):
            cursor = self._rooms.find({"members": {"$gt": 0}}, projection={"members": 1})
            return {RoomId(str(document["_id"])): int(document["members"]) async for document in cursor}

    async def record_occupancy(self, members: Mapping[RoomId, int], now: datetime) -> None:
        updates = [_occupancy_update(ObjectId(room_id), count, now) for room_id, count in members.items()]
        for start in range(0, len(updates), _BULK_UPDATES):
            with unrepeatable(self._timeout_s):
                await self._rooms.bulk_write(updates[start : start + _BULK_UPDATES], ordered=False)

    async def empty_since(self, moment: datetime, limit: int) -> Sequence[RoomId]:
        with repeatable(self._timeout_s):
            cursor = self._rooms.find({"empty_since": {"$lte": moment}, "members": 0}, projection={"_id": 1})
            return [RoomId(str(document["_id"])) async for document in cursor.sort("empty_since", 1).limit(limit)]


def _occupancy_update(room: ObjectId, members: int, now: datetime) -> UpdateOne:
    empty_since: Document = {"$cond": [members == 0, {"$ifNull": ["$empty_since", now]}, "$$REMOVE"]}
    # Rooms from before version 0.3 have no `entered`, and stay in the list.
    entered: object = True if members else {"$ifNull": ["$entered", True]}
    return UpdateOne({"_id": room}, [{"$set": {"members": members, "empty_since": empty_since, "entered": entered}}])


def _document(room: Room) -> Document:
    return {
        "_id": ObjectId(room.room_id),
        "epoch": room.epoch,
        "owner_id": room.owner_id,
        "owner_color": room.owner_color,
        "owner_address": room.owner_address,
        "entered": False,
        "title": room.title,
        "title_folded": fold_title(room.title),
        "max": room.max_members,
        "created_at": room.created_at,
        "password_hash": room.password_hash,
        "access_version": room.access_version,
        "slow_mode_s": room.slow_mode_s,
        "members": 0,
        "empty_since": room.created_at,
        "sanctions": _sanctions_document(room.sanctions),
        "sanctions_version": room.sanctions_version,
    }


def _room(document: Document) -> Room:
    return Room(
        room_id=RoomId(str(document["_id"])),
        epoch=Epoch(document["epoch"]),
        owner_id=UserId(document["owner_id"]),
        owner_color=document["owner_color"],
        title=document["title"],
        max_members=document["max"],
        created_at=utc(document["created_at"]),
        password_hash=document["password_hash"],
        access_version=document["access_version"],
        slow_mode_s=document["slow_mode_s"],
        members=document["members"],
        sanctions={UserId(user_id): _sanction(each) for user_id, each in document["sanctions"].items()},
        sanctions_version=document["sanctions_version"],
        owner_address=document.get("owner_address", ""),
    )


def _sanctions_document(sanctions: Mapping[UserId, Sanction]) -> Document:
    documents: Document = {}
    for user_id, sanction in sanctions.items():
        fields = {
            "banned_until": _until_document(sanction.banned_until),
            "muted_until": _until_document(sanction.muted_until),
            "kicked_at": sanction.kicked_at,
            "kicked_until": sanction.kicked_until,
        }
        documents[user_id] = {name: value for name, value in fields.items() if value is not None}
    return documents


def _sanction(document: Document) -> Sanction:
    kicked_at, kicked_until = document.get("kicked_at"), document.get("kicked_until")
    return Sanction(
        banned_until=_until(document.get("banned_until")),
        muted_until=_until(document.get("muted_until")),
        kicked_at=None if kicked_at is None else utc(kicked_at),
        kicked_until=None if kicked_until is None else utc(kicked_until),
    )


def _until_document(until: Until | None) -> datetime | str | None:
    return FOREVER.value if until is FOREVER else until


def _until(value: datetime | str | None) -> Until | None:
    match value:
        case None:
            return None
        case datetime():
            return utc(value)
        case _:
            return FOREVER
