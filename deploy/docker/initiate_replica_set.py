"""Make a standalone MongoDB the primary of a one-member replica set. If it already is, do nothing.

Runs once in the rooms-api image, before rooms-api starts, so that the MongoDB image needs no shell. `MONGO_MEMBER` is
the address that clients use, `MONGO_REPLICA_SET` the name of the set.
"""

import logging
import os
import sys
import time

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

ALREADY_INITIALIZED = 23
DEADLINE_S = 60.0
POLL_S = 0.2

_log = logging.getLogger("replica-set")


def main() -> None:
    """Initiate, and wait until the member is a primary that accepts writes."""
    member = os.environ.get("MONGO_MEMBER", "mongo:27017")
    name = os.environ.get("MONGO_REPLICA_SET", "rs0")
    deadline = time.monotonic() + DEADLINE_S
    mongo: MongoClient[dict[str, object]]
    with MongoClient(member, directConnection=True, serverSelectionTimeoutMS=int(DEADLINE_S * 1000)) as mongo:
        try:
            mongo.admin.command("replSetInitiate", {"_id": name, "members": [{"_id": 0, "host": member}]})
        except OperationFailure as error:
            if error.code != ALREADY_INITIALIZED:
                raise
        while not mongo.admin.command("hello")["isWritablePrimary"]:
            if time.monotonic() > deadline:
                sys.exit(f"{member} is not the primary of {name} after {DEADLINE_S:.0f} s")
            time.sleep(POLL_S)
    _log.info("%s is the primary of %s", member, name)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        main()
    except PyMongoError as problem:
        sys.exit(f"the replica set was not initiated: {problem}")
