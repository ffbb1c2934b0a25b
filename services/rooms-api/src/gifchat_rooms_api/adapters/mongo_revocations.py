"""Revoked sessions in MongoDB.

Collection `revoked_sessions`, one document per session: {_id: <user id>, at}. MongoDB removes it when no cookie of the
session can be valid any more.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pymongo import AsyncMongoClient, IndexModel, ReturnDocument
from pymongo.errors import DuplicateKeyError

from gifchat_chassis.revocations import KEPT_S, PAGE_MAX, Revocation
from gifchat_contracts.ids import UserId
from gifchat_rooms_api.adapters.mongo_connection import Document, majority_database, repeatable, utc

_TIMEOUT_S = 5.0
_EPOCH = datetime.fromtimestamp(0, UTC)


class MongoRevocations:
    """`ports.Revocations`."""

    def __init__(self, client: AsyncMongoClient[Document], database: str, timeout_s: float = _TIMEOUT_S) -> None:
        self._revoked = majority_database(client, database)["revoked_sessions"]
        self._timeout_s = timeout_s

    async def create_indexes(self) -> None:
        """Create the index; a no-op if it exists."""
        with repeatable(self._timeout_s):
            await self._revoked.create_indexes([IndexModel([("at", 1)], expireAfterSeconds=int(KEPT_S))])

    async def add(self, user_id: UserId) -> Revocation:
        # Use MongoDB's clock, because readers ask for all revocations since a time.
        update: list[dict[str, Any]] = [{"$set": {"at": {"$ifNull": ["$at", "$$NOW"]}}}]
        with repeatable(self._timeout_s):
            while True:
                try:
                    document = await self._revoked.find_one_and_update(
                        {"_id": user_id}, update, upsert=True, return_document=ReturnDocument.AFTER
                    )
                except DuplicateKeyError:  # another process inserted the document at the same moment
                    continue
                if document is not None:
                    return _revocation(document)

    async def since(self, at_ms: int) -> Sequence[Revocation]:
        moment = datetime.fromtimestamp(at_ms / 1_000, UTC)
        with repeatable(self._timeout_s):
            cursor = self._revoked.find({"at": {"$gte": moment}}).sort("at", 1).limit(PAGE_MAX)
            return [_revocation(document) async for document in cursor]


def _revocation(document: Document) -> Revocation:
    since_epoch = utc(document["at"]) - _EPOCH
    return Revocation(UserId(document["_id"]), round(since_epoch.total_seconds() * 1_000))
