"""A lease in MongoDB, on MongoDB's clock: one document of the collection `leases`, {_id, holder, until}."""

from typing import Any

import pymongo
from pymongo import AsyncMongoClient, ReturnDocument
from pymongo.errors import DuplicateKeyError, InvalidOperation, PyMongoError
from pymongo.write_concern import WriteConcern

from gifchat_rooms_api.ports import StoreClosedError, StoreUnavailableError

_TIMEOUT_S = 2.0


class MongoLeadership:
    """`ports.Leadership` over one task."""

    def __init__(self, client: AsyncMongoClient[dict[str, Any]], database: str, task: str, holder: str) -> None:
        """`holder` names this process and no other one."""
        self._leases = client[database].get_collection("leases", write_concern=WriteConcern(w="majority", j=True))
        self._task = task
        self._holder = holder

    async def acquire(self, ttl_s: float) -> bool:
        """See `ports.Leadership`."""
        free = {"$or": [{"$eq": ["$holder", self._holder]}, {"$lt": [{"$ifNull": ["$until", None]}, "$$NOW"]}]}
        until = {"$add": ["$$NOW", round(ttl_s * 1000)]}
        take = {
            "$set": {
                "holder": {"$cond": [free, self._holder, "$holder"]},
                "until": {"$cond": [free, until, "$until"]},
            }
        }
        try:
            with pymongo.timeout(_TIMEOUT_S):
                lease = await self._leases.find_one_and_update(
                    {"_id": self._task}, [take], upsert=True, return_document=ReturnDocument.AFTER
                )
        except DuplicateKeyError:  # another replica made the document at the same moment
            return False
        except InvalidOperation as error:
            raise StoreClosedError(str(error)) from error
        except PyMongoError as error:
            raise StoreUnavailableError(str(error)) from error
        return lease is not None and lease["holder"] == self._holder

    async def release(self) -> None:
        """See `ports.Leadership`."""
        try:
            with pymongo.timeout(_TIMEOUT_S):
                await self._leases.delete_one({"_id": self._task, "holder": self._holder})
        except InvalidOperation as error:
            raise StoreClosedError(str(error)) from error
        except PyMongoError as error:
            raise StoreUnavailableError(str(error)) from error
