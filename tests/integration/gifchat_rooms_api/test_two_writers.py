"""Two replicas of rooms-api write to one room with group commit. Each has its own client of a real MongoDB."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId
from pymongo import AsyncMongoClient

from gifchat_contracts import errors
from gifchat_contracts.codec import Frame
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.adapters.mongo_messages import MongoMessages
from gifchat_rooms_api.domain.message import Draft, Message, Text
from gifchat_rooms_api.domain.room import Room
from gifchat_rooms_api.use_cases.group_commit import Committed, GroupCommit
from gifchat_testkit.fakes.rooms import room_of

pytestmark = pytest.mark.servers

ROOM = RoomId(str(ObjectId()))
ANNE, BOB = UserId("a" * 24), UserId("b" * 24)


def anyone(room: Room, now: datetime) -> None:
    """A rule that allows everything."""


def draft(key: str, user_id: UserId = ANNE) -> Draft:
    return Draft(str(ObjectId()), user_id, key, Message("#86362d", Text(f"text of {key}")))


@dataclass
class Replica:
    log: MongoMessages
    published: list[Frame] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.commit = GroupCommit(self, self.log, self, lambda: datetime.now(UTC))

    async def get(self, room_id: RoomId) -> Room:
        return room_of(room_id)

    def publish(self, channel: str, frame: Frame) -> None:
        self.published.append(frame)


@pytest.fixture
async def replicas(mongo_url: str, mongo_database: str) -> AsyncIterator[list[Replica]]:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(AsyncMongoClient[dict[str, Any]](mongo_url)) for _ in range(2)]
        logs = [MongoMessages(client, mongo_database) for client in clients]
        await logs[0].create_indexes()
        yield [Replica(log) for log in logs]


async def test_seqs_are_contiguous_and_every_reply_is_true(replicas: list[Replica]) -> None:
    async def writer(replica: Replica, user_id: UserId, name: str) -> list[Committed]:
        return [await replica.commit.append(ROOM, draft(f"{name}-{n}", user_id), anyone) for n in range(25)]

    writers = [writer(replicas[number % 2], ANNE if number % 3 else BOB, f"writer{number}") for number in range(40)]
    acknowledged = [committed.entry for entries in await asyncio.gather(*writers) for committed in entries]

    stored = await replicas[0].log.after(ROOM, 0, 2_000, 1_000_000)
    assert [entry.seq for entry in stored] == list(range(1, 1_001))
    assert sorted(acknowledged, key=lambda entry: entry.seq) == stored
    for replica in replicas:
        seqs = [frame.seq for frame in replica.published]
        assert seqs == sorted(seqs)
    assert {frame.seq for replica in replicas for frame in replica.published} == set(range(1, 1_001))


async def test_a_hundred_concurrent_copies_among_other_messages_are_one_entry(replicas: list[Replica]) -> None:
    posts = [("same", replicas[number % 2]) for number in range(100)]
    posts += [(f"other-{number}", replicas[number % 2]) for number in range(100)]
    random.Random(7).shuffle(posts)

    outcomes = await asyncio.gather(*(replica.commit.append(ROOM, draft(key), anyone) for key, replica in posts))

    stored = await replicas[0].log.after(ROOM, 0, 1_000, 1_000_000)
    assert [entry.seq for entry in stored] == list(range(1, 102))
    replies = {outcome for (key, _), outcome in zip(posts, outcomes, strict=True) if key == "same"}
    assert len(replies) == 1
    assert [entry for entry in stored if entry.draft.key == "same"] == [replies.pop().entry]


async def test_an_unreachable_server_means_unavailable_not_unknown() -> None:
    async with AsyncMongoClient[dict[str, Any]]("mongodb://127.0.0.1:9/") as client:
        replica = Replica(MongoMessages(client, "nowhere", timeout_s=0.3))
        with pytest.raises(Refused) as refused:
            await replica.commit.append(ROOM, draft("k"), anyone)
    assert refused.value.code is errors.UNAVAILABLE
