"""`gifchat_rooms_api.ports.MessageLog`: one suite for the fake and for MongoDB."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId
from pymongo import AsyncMongoClient

from gifchat_contracts.ids import Epoch, GifId, RoomId, UserId
from gifchat_contracts.position import Position
from gifchat_rooms_api.adapters.mongo_messages import MongoMessages
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
    deletion_key,
    size_of,
)
from gifchat_rooms_api.ports import Appended, KeyTaken, MessageLog, SeqTaken
from gifchat_testkit.fakes.message_log import FakeMessageLog

PLENTY = 1_000_000
ROOM, OTHER, MISSING = (RoomId(str(ObjectId())) for _ in range(3))
EPOCHS = {ROOM: Epoch("0123456789abcdef"), OTHER: Epoch("fedcba9876543210")}
ANNE, BOB = UserId("a" * 24), UserId("b" * 24)
AT = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
GIF = Gif(GifId("ab" * 32), f"{'ab' * 32}.gif", 320, 240, 12)


@pytest.fixture(params=["fake", pytest.param("mongo", marks=pytest.mark.servers)])
async def log(request: pytest.FixtureRequest) -> AsyncIterator[MessageLog]:
    if request.param == "fake":
        yield FakeMessageLog(EPOCHS)
        return
    mongo_url, database = request.getfixturevalue("mongo_url"), request.getfixturevalue("mongo_database")
    async with AsyncMongoClient[dict[str, Any]](mongo_url) as client:
        await client[database]["rooms"].insert_many(
            [{"_id": ObjectId(room_id), "epoch": epoch} for room_id, epoch in EPOCHS.items()]
        )
        messages = MongoMessages(client, database)
        await messages.create_indexes()
        yield messages


def entry(seq: int, key: str, user_id: UserId = ANNE, fact: Fact | None = None, at: datetime = AT) -> LogEntry:
    return LogEntry(seq, at, Draft(str(ObjectId()), user_id, key, fact or Message("#86362d", Text(f"text of {key}"))))


async def seqs(log: MessageLog, room_id: RoomId = ROOM) -> list[int]:
    return [stored.seq for stored in await log.after(room_id, 0, 1_000, PLENTY)]


async def test_an_empty_log_has_head_0(log: MessageLog) -> None:
    assert await log.head(ROOM) == 0
    assert await log.after(ROOM, 0, 10, PLENTY) == []
    assert await log.before(ROOM, None, 10, PLENTY) == []


@pytest.mark.parametrize(
    "fact",
    [
        Message("#86362d", Text("안녕 🎉\n<b>\t")),
        Message("#86362d", GIF),
        Message("#86362d", Redacted()),
        Deletion(3, "ab" * 12),
        SlowModeChange(30),
    ],
    ids=lambda fact: repr(fact)[:30],
)
async def test_every_entry_comes_back_unchanged(log: MessageLog, fact: Fact) -> None:
    stored = entry(1, "k1", fact=fact)
    assert await log.append(ROOM, [stored]) == Appended(1, None)
    assert await log.after(ROOM, 0, 10, PLENTY) == [stored]
    assert await log.find(ROOM, {(ANNE, "k1")}) == {(ANNE, "k1"): stored}


async def test_an_append_stops_at_a_taken_seq_and_returns_the_head(log: MessageLog) -> None:
    await log.append(ROOM, [entry(1, "a1"), entry(2, "a2"), entry(3, "a3")])
    assert await log.append(ROOM, [entry(3, "b1"), entry(4, "b2")]) == Appended(0, SeqTaken(3))
    await log.append(ROOM, [entry(5, "a5"), entry(6, "a6")])
    assert await log.append(ROOM, [entry(4, "c1"), entry(5, "c2"), entry(6, "c3")]) == Appended(1, SeqTaken(6))
    assert await seqs(log) == [1, 2, 3, 4, 5, 6]


async def test_an_append_stops_at_a_taken_key_and_returns_the_stored_entry(log: MessageLog) -> None:
    first = entry(1, "same")
    await log.append(ROOM, [first])
    appended = await log.append(ROOM, [entry(2, "new"), entry(3, "same"), entry(4, "later")])
    assert appended == Appended(1, KeyTaken(first))
    assert await seqs(log) == [1, 2]


async def test_seqs_are_unique_per_room_and_keys_per_room_and_user(log: MessageLog) -> None:
    assert await log.append(ROOM, [entry(1, "k"), entry(2, "k", BOB)]) == Appended(2, None)
    assert await log.append(OTHER, [entry(1, "k"), entry(2, "k", BOB)]) == Appended(2, None)


async def test_only_one_writer_gets_a_seq(log: MessageLog) -> None:
    results = await asyncio.gather(*(log.append(ROOM, [entry(1, f"k{number}")]) for number in range(10)))
    assert sorted(result.stored for result in results) == [0] * 9 + [1]
    assert all(result.conflict in (None, SeqTaken(1)) for result in results)


async def test_find_leaves_out_missing_entries(log: MessageLog) -> None:
    stored = entry(1, "k1")
    await log.append(ROOM, [stored])
    assert await log.find(ROOM, {(ANNE, "k1"), (ANNE, "k2"), (BOB, "k1")}) == {(ANNE, "k1"): stored}
    assert await log.find(OTHER, {(ANNE, "k1")}) == {}


async def test_last_posted_counts_only_messages_and_returns_the_latest(log: MessageLog) -> None:
    later = AT + timedelta(seconds=5)
    await log.append(
        ROOM,
        [
            entry(1, "k1"),
            entry(2, "k2", at=later),
            entry(3, "k3", BOB),
            entry(4, "k4", BOB, SlowModeChange(5), later),
        ],
    )
    since = AT - timedelta(seconds=1)
    assert await log.last_posted(ROOM, {ANNE, BOB}, since) == {ANNE: later, BOB: AT}
    assert await log.last_posted(ROOM, {ANNE, BOB}, AT) == {ANNE: later}
    assert await log.last_posted(OTHER, {ANNE}, since) == {}


@pytest.mark.parametrize("content", [Text("secret"), GIF])
async def test_redaction_removes_the_content_and_keeps_the_entry(log: MessageLog, content: Content) -> None:
    stored = entry(1, "k1", fact=Message("#86362d", content))
    await log.append(ROOM, [stored])
    redacted = await log.redact(ROOM, 1)
    assert redacted
    assert redacted.draft.fact == Message("#86362d", Redacted())
    assert (redacted.seq, redacted.created_at, redacted.draft.key) == (1, AT, "k1")
    assert await log.redact(ROOM, 1) == redacted
    assert await log.after(ROOM, 0, 10, PLENTY) == [redacted]
    assert await log.find(ROOM, {(ANNE, "k1")}) == {(ANNE, "k1"): redacted}


async def test_the_messages_of_a_user_are_found_newest_first(log: MessageLog) -> None:
    entries = [entry(seq, f"k{seq}", user_id=BOB if seq == 3 else ANNE) for seq in range(1, 6)]
    deletion = entry(6, deletion_key(9), fact=Deletion(9, "ab" * 12))
    await log.append(ROOM, [*entries, deletion])
    await log.redact(ROOM, 4)
    assert list(await log.messages_of(ROOM, ANNE, 10)) == [5, 2, 1]
    assert list(await log.messages_of(ROOM, ANNE, 2)) == [5, 2]
    assert list(await log.messages_of(ROOM, BOB, 10)) == [3]


async def test_only_a_message_can_be_redacted(log: MessageLog) -> None:
    await log.append(ROOM, [entry(1, deletion_key(9), fact=Deletion(9, "ab" * 12))])
    assert await log.redact(ROOM, 1) is None
    assert await log.redact(ROOM, 2) is None


async def test_entries_are_read_in_both_directions_in_ascending_order(log: MessageLog) -> None:
    await log.append(ROOM, [entry(seq, f"k{seq}") for seq in range(1, 11)])

    def numbers(entries: Iterable[LogEntry]) -> list[int]:
        return [one.seq for one in entries]

    assert numbers(await log.after(ROOM, 0, 3, PLENTY)) == [1, 2, 3]
    assert numbers(await log.after(ROOM, 8, 3, PLENTY)) == [9, 10]
    assert numbers(await log.after(ROOM, 10, 3, PLENTY)) == []
    assert numbers(await log.before(ROOM, None, 3, PLENTY)) == [8, 9, 10]
    assert numbers(await log.before(ROOM, 3, 3, PLENTY)) == [1, 2]
    assert numbers(await log.before(ROOM, 1, 3, PLENTY)) == []
    assert numbers(await log.before(ROOM, 100, 2, PLENTY)) == [9, 10]


async def test_a_read_stops_after_the_entry_with_which_it_exceeds_the_bytes(log: MessageLog) -> None:
    entries = [entry(seq, f"k{seq}") for seq in range(1, 6)]
    await log.append(ROOM, entries)
    two = sum(map(size_of, entries[:2]))
    assert [one.seq for one in await log.after(ROOM, 0, 10, two)] == [1, 2, 3]
    assert [one.seq for one in await log.after(ROOM, 1, 2, two)] == [2, 3]
    assert [one.seq for one in await log.after(ROOM, 0, 10, 1)] == [1, 2], "so that the reader sees that there is more"
    assert [one.seq for one in await log.before(ROOM, None, 10, two - 1)] == [4, 5]
    assert [one.seq for one in await log.before(ROOM, 3, 10, two)] == [1, 2]


async def test_heads_of_many_rooms_leave_out_missing_rooms(log: MessageLog) -> None:
    await log.append(ROOM, [entry(seq, f"k{seq}") for seq in range(1, 4)])
    await log.append(MISSING, [entry(1, "k1")])
    assert await log.heads([ROOM, OTHER, MISSING]) == {
        ROOM: Position(EPOCHS[ROOM], 3),
        OTHER: Position(EPOCHS[OTHER], 0),
    }
    assert await log.heads([]) == {}


async def test_removing_a_room_removes_only_its_entries(log: MessageLog) -> None:
    await log.append(ROOM, [entry(1, "k1"), entry(2, "k2")])
    await log.append(OTHER, [entry(1, "k1")])
    await log.remove_room(ROOM)
    assert await seqs(log) == []
    assert await log.head(ROOM) == 0
    assert await seqs(log, OTHER) == [1]


async def test_client_keys_are_treated_as_data(log: MessageLog) -> None:
    key = "$where" + secrets.token_hex(4)
    await log.append(ROOM, [entry(1, key)])
    assert list(await log.find(ROOM, {(ANNE, key)})) == [(ANNE, key)]


async def test_rooms_are_found_by_the_time_of_their_entries(log: MessageLog) -> None:
    await log.append(ROOM, [entry(1, "a1", at=AT), entry(2, "a2", at=AT + timedelta(seconds=10))])
    await log.append(OTHER, [entry(1, "o1", at=AT)])
    assert set(await log.written_since(AT)) == {ROOM, OTHER}
    assert set(await log.written_since(AT + timedelta(seconds=1))) == {ROOM}
    assert set(await log.written_since(AT + timedelta(seconds=10))) == {ROOM}
    assert set(await log.written_since(AT + timedelta(seconds=11))) == set()
