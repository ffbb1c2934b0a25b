"""The log's queries use indexes, according to MongoDB's profiler."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.adapters.mongo_messages import MongoMessages
from gifchat_rooms_api.domain.message import Draft, LogEntry, Message, Text

pytestmark = pytest.mark.servers

ROOM = RoomId("65f0c0ffee0123456789abcd")
ANNE = UserId("a" * 24)
START = datetime(2026, 1, 2, tzinfo=UTC)
ENTRIES = 300

Ask = Callable[[MongoMessages], Awaitable[object]]


@pytest.fixture
async def database(mongo_url: str) -> AsyncIterator[AsyncDatabase[dict[str, Any]]]:
    async with AsyncMongoClient[dict[str, Any]](mongo_url, tz_aware=True) as client:
        database = client[f"profiled_{secrets.token_hex(6)}"]
        yield database
        await client.drop_database(database)


@pytest.fixture
async def log(database: AsyncDatabase[dict[str, Any]]) -> MongoMessages:
    log = MongoMessages(database.client, database.name)
    await log.create_indexes()
    await database["rooms"].insert_one({"_id": ObjectId(ROOM), "epoch": "0123456789abcdef"})
    entries = [
        LogEntry(
            seq,
            START + timedelta(seconds=seq),
            Draft(str(ObjectId()), ANNE, f"k{seq}", Message("#86362d", Text("hello"))),
        )
        for seq in range(1, ENTRIES + 1)
    ]
    await log.append(ROOM, entries)
    return log


@pytest.mark.parametrize(
    ("ask", "keys", "examined"),
    [
        (lambda log: log.head(ROOM), "{ room: 1, seq: -1 }", 1),
        (lambda log: log.after(ROOM, 100, 20, 1_000_000), "{ room: 1, seq: -1 }", 20),
        (lambda log: log.before(ROOM, 200, 20, 1_000_000), "{ room: 1, seq: -1 }", 20),
        (lambda log: log.before(ROOM, None, 20, 1_000_000), "{ room: 1, seq: -1 }", 20),
        (lambda log: log.find(ROOM, {(ANNE, "k7")}), "{ room: 1, user_id: 1, client_message_id: 1 }", 1),
        (
            lambda log: log.last_posted(ROOM, {ANNE}, START + timedelta(seconds=ENTRIES - 10)),
            "{ room: 1, user_id: 1, created_at: -1 }",
            10,
        ),
        (
            lambda log: log.written_since(START + timedelta(seconds=ENTRIES - 10)),
            "{ created_at: -1, room: 1 }",
            0,
        ),
    ],
    ids=["head", "after", "before", "newest", "find", "last_posted", "written_since"],
)
async def test_reads_examine_only_what_they_return(
    log: MongoMessages, database: AsyncDatabase[dict[str, Any]], ask: Ask, keys: str, examined: int
) -> None:
    await database.command("profile", 2)
    await ask(log)
    await database.command("profile", 0)
    seen = await database["system.profile"].find({"ns": f"{database.name}.messages"}).to_list()
    assert [operation["planSummary"] for operation in seen] == [f"IXSCAN {keys}"]
    assert sum(operation["docsExamined"] for operation in seen) <= examined


async def test_the_heads_of_many_rooms_examine_one_entry_each(
    log: MongoMessages, database: AsyncDatabase[dict[str, Any]]
) -> None:
    await database.command("profile", 2)
    await log.heads([ROOM])
    await database.command("profile", 0)
    [seen] = await database["system.profile"].find({"op": "command", "ns": f"{database.name}.rooms"}).to_list()
    assert seen["docsExamined"] <= 2, "the room and its newest entry"
