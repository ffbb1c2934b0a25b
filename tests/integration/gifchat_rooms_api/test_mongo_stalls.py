"""MongoDB stalls during writes and recovers: no false reply, no gap, no duplicate."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from bson import ObjectId
from pymongo import AsyncMongoClient

from gifchat_cli.ports import free_port
from gifchat_cli.prerequisites import find_mongod
from gifchat_cli.servers.mongod import Mongod
from gifchat_contracts import errors
from gifchat_contracts.codec import Frame
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.adapters.mongo_messages import MongoMessages
from gifchat_rooms_api.domain.message import Draft, Message, Text
from gifchat_rooms_api.domain.room import Room
from gifchat_rooms_api.use_cases.group_commit import Committed, GroupCommit
from gifchat_testkit.fakes.rooms import room_of
from gifchat_testkit.proxy import TcpProxy
from gifchat_testkit.servers import running

pytestmark = pytest.mark.servers

ROOM = RoomId(str(ObjectId()))
DEADLINE_S = 20.0


@pytest.fixture
def mongod(tmp_path: Path) -> Iterator[tuple[str, int]]:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    server = Mongod(find_mongod(), free_port(), data_dir)
    with running("mongod", server.command(), tmp_path, server.make_primary) as pid:
        try:
            yield server.url, pid
        finally:
            os.kill(pid, signal.SIGCONT)


class World:
    async def get(self, room_id: RoomId) -> Room:
        return room_of(room_id)

    def publish(self, channel: str, frame: Frame) -> None:
        """Ignore the event."""


async def post(commit: GroupCommit, key: str) -> Committed | errors.ErrorCode:
    draft = Draft(str(ObjectId()), UserId("a" * 24), key, Message("#86362d", Text(key)))
    try:
        return await commit.append(ROOM, draft, lambda room, now: None)
    except Refused as refused:
        return refused.code


async def test_unanswered_writes_are_unknown_and_safe_to_retry(mongod: tuple[str, int]) -> None:
    url, pid = mongod
    async with AsyncMongoClient[dict[str, Any]](url) as client:
        log = MongoMessages(client, "gifchat", timeout_s=0.5)
        await log.create_indexes()
        commit = GroupCommit(World(), log, World(), lambda: datetime.now(UTC))
        first = [await post(commit, f"before-{number}") for number in range(3)]

        os.kill(pid, signal.SIGSTOP)
        stalled = await asyncio.gather(*(post(commit, f"during-{number}") for number in range(20)))
        os.kill(pid, signal.SIGCONT)
        assert set(stalled) <= {errors.OUTCOME_UNKNOWN, errors.UNAVAILABLE}
        assert errors.OUTCOME_UNKNOWN in stalled

        acknowledged = [one for one in first if isinstance(one, Committed)]
        async with asyncio.timeout(DEADLINE_S):
            for number in range(20):
                while not isinstance(again := await post(commit, f"during-{number}"), Committed):
                    assert again.retry
                acknowledged.append(again)

        stored = await log.after(ROOM, 0, 1_000, 1_000_000)
    assert [entry.seq for entry in stored] == list(range(1, 24))
    assert sorted((one.entry for one in acknowledged), key=lambda entry: entry.seq) == stored


async def test_a_write_whose_answer_was_lost_is_repeated_and_stored_once(mongod: tuple[str, int]) -> None:
    url, _ = mongod
    async with AsyncExitStack() as stack:
        direct = await stack.enter_async_context(AsyncMongoClient[dict[str, Any]](url))
        proxy = await stack.enter_async_context(TcpProxy(urlsplit(url).port or 0))
        through = f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true"
        client = await stack.enter_async_context(AsyncMongoClient[dict[str, Any]](through))
        log = MongoMessages(client, "gifchat")
        await log.create_indexes()
        commit = GroupCommit(World(), log, World(), lambda: datetime.now(UTC))
        assert isinstance(await post(commit, "before"), Committed)

        proxy.stall("down")
        posting = asyncio.create_task(post(commit, "answer lost"))
        messages = direct["gifchat"]["messages"]
        async with asyncio.timeout(DEADLINE_S):
            while await messages.count_documents({"client_message_id": "answer lost"}) == 0:
                await asyncio.sleep(0.01)
        proxy.cut()
        await proxy.heal()

        committed = await posting
        assert isinstance(committed, Committed)
        assert await messages.count_documents({}) == committed.entry.seq == 2
