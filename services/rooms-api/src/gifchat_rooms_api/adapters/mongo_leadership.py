"""A lease in MongoDB, timed by MongoDB's clock.

Collection `leases`, one document per task: {_id, holder, until}.
"""

from pymongo import AsyncMongoClient, ReturnDocument
from pymongo.errors import DuplicateKeyError

from gifchat_rooms_api.adapters.mongo_connection import Document, majority_database, repeatable

_TIMEOUT_S = 2.0


class MongoLeadership:
    """`ports.Leadership` for one task."""

    def __init__(self, client: AsyncMongoClient[Document], database: str, task: str, holder: str) -> None:
        """`holder` identifies this process and no other."""
        self._leases = majority_database(client, database)["leases"]
        self._task = task
        self._holder = holder

    async def acquire(self, ttl_s: float) -> bool:
        free = {"$or": [{"$eq": ["$holder", self._holder]}, {"$lt": [{"$ifNull": ["$until", None]}, "$$NOW"]}]}
        until = {"$add": ["$$NOW", round(ttl_s * 1000)]}
        take = {
            "$set": {
                "holder": {"$cond": [free, self._holder, "$holder"]},
                "until": {"$cond": [free, until, "$until"]},
            }
        }
        with repeatable(_TIMEOUT_S):
            try:
                lease = await self._leases.find_one_and_update(
                    {"_id": self._task}, [take], upsert=True, return_document=ReturnDocument.AFTER
                )
            except DuplicateKeyError:  # another replica inserted the document at the same moment
                return False
        return lease is not None and lease["holder"] == self._holder

    async def release(self) -> None:
        with repeatable(_TIMEOUT_S):
            await self._leases.delete_one({"_id": self._task, "holder": self._holder})
