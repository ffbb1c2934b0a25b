"""How many messages per second can one rooms-api process store in one hot room?"""

import asyncio
import json
import os
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import uvloop
from bson import ObjectId
from pymongo import AsyncMongoClient

from benchmarks.harness import machine, product
from benchmarks.harness.fan_out import Log
from benchmarks.harness.load import RunFailedError
from benchmarks.harness.rounds import Options, Result, interleaved
from benchmarks.harness.testbed import open_testbed
from benchmarks.peers.counter_and_insert import CounterAndInsert
from gifchat_chassis.secret_rules import DEVELOPMENT_TOKEN
from gifchat_contracts.codec import Frame
from gifchat_contracts.ids import RoomId, UserId, new_epoch
from gifchat_rooms_api.adapters.mongo_messages import MongoMessages
from gifchat_rooms_api.adapters.mongo_rooms import MongoRooms
from gifchat_rooms_api.domain.message import Draft, Message, Text
from gifchat_rooms_api.domain.room import Room
from gifchat_rooms_api.use_cases.group_commit import Committed, GroupCommit, Rule

TITLE = "Messages per second into one hot room"
WRITERS = 512
"""Concurrent writers that call the use case."""
COUNTER_WRITERS = 32
"""More writers would only wait for each other."""
CONNECTIONS = 96
"""Concurrent writers over HTTP."""
USER = UserId("00112233445566778899aabb")

Mongo = AsyncMongoClient[dict[str, Any]]


class Appends(Protocol):
    """Group commit, or the variant that it is compared with."""

    async def append(self, room_id: RoomId, draft: Draft, rule: Rule) -> Committed:
        """See `GroupCommit.append`."""
        ...


class _NoPublisher:
    """Publishes nothing: publishing is not measured here."""

    def publish(self, channel: str, frame: Frame) -> None:
        """Do nothing."""


def run(options: Options, log: Log) -> Result:
    """Measure the use case in this process, and rooms-api over HTTP, both on the server's core."""
    columns = {"per_s": "messages per second", "us": "µs of CPU per message", "p50_ms": "time per message, p50, ms"}
    result = Result("group-commit", TITLE, columns)
    many, few = options.size(20_000, 4_000), options.size(2_000, 400)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="gifchat-bench-")))
        testbed = stack.enter_context(open_testbed(folder))
        mongo_url = stack.enter_context(product.mongod(folder, testbed.port())).url
        grouped = stack.enter_context(product.rooms_api(testbed, mongo_url, machine.SERVER_CORE))
        textbook = stack.enter_context(
            product.rooms_api(testbed, mongo_url, machine.SERVER_CORE, "benchmarks.peers.counter_and_insert")
        )
        measures = {
            "group commit": partial(_at_the_use_case, mongo_url, [GroupCommit], many, WRITERS),
            "group commit, two writers of the room": partial(
                _at_the_use_case, mongo_url, [GroupCommit] * 2, many, WRITERS
            ),
            "counter and insert": partial(_at_the_use_case, mongo_url, [CounterAndInsert], few, COUNTER_WRITERS),
            "group commit, through HTTP": partial(_through_http, grouped, few),
            "counter and insert, through HTTP": partial(_through_http, textbook, few),
        }
        result.rows = interleaved(measures, options.rounds, log)
    result.ratio("≥ 8 × counter and insert", "group commit", "counter and insert", "per_s", 8, at_most=False)
    http = "through HTTP ≥ 1.8 ×"
    result.ratio(http, "group commit, through HTTP", "counter and insert, through HTTP", "per_s", 1.8, at_most=False)
    result.notes.append(
        f"{WRITERS} messages are in flight at the use case, {CONNECTIONS} through HTTP. With a counter, only "
        f"{COUNTER_WRITERS} are in flight at the use case, because more would only block one another. Every write "
        "waits for the journal of a majority. mongod has the other core. After each round the room's seqs are read "
        "back, and there are no holes. The two writers run in one process."
    )
    return result


# ------------------------------------------------------------------------------------------------ at the use case


def _at_the_use_case(
    mongo_url: str, ways: Sequence[Callable[..., Appends]], messages: int, at_once: int
) -> Mapping[str, float]:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {machine.SERVER_CORE})
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_append_all(mongo_url, ways, messages, at_once))
    finally:
        os.sched_setaffinity(0, cores)


async def _append_all(
    mongo_url: str, ways: Sequence[Callable[..., Appends]], messages: int, at_once: int
) -> Mapping[str, float]:
    database = f"bench_{secrets.token_hex(4)}"
    mongo: Mongo = AsyncMongoClient(mongo_url, tz_aware=True, w="majority", journal=True, readConcernLevel="majority")
    try:
        rooms, log = MongoRooms(mongo, database), MongoMessages(mongo, database)
        await log.create_indexes()
        room_id = RoomId(str(ObjectId()))
        await rooms.add(Room(room_id, new_epoch(), USER, "#808080", "A room", 100, datetime.now(UTC)))
        writers = [way(rooms, log, _NoPublisher(), lambda: datetime.now(UTC)) for way in ways]

        async def write(number: int) -> None:
            text = Message("#808080", Text("How many messages does a room take?"))
            draft = Draft(str(ObjectId()), USER, f"bench-{number}", text)
            await writers[number % len(writers)].append(room_id, draft, lambda _room, _now: None)

        await _many(write, range(-200, 0), at_once)
        began, cpu = time.monotonic(), time.process_time()
        took = await _many(write, range(messages), at_once)
        seconds, cpu_s = time.monotonic() - began, time.process_time() - cpu
        await _check(mongo, database, room_id, messages + 200)
        return {"per_s": messages / seconds, "us": cpu_s * 1e6 / messages, "p50_ms": took}
    finally:
        await mongo.drop_database(database)
        await mongo.close()


async def _many(write: Callable[[int], Coroutine[Any, Any, None]], numbers: range, at_once: int) -> float:
    """Write all messages with some concurrency; return the median time per message, in ms."""
    rest = iter(numbers)
    took: list[float] = []

    async def writer() -> None:
        for number in rest:
            began = time.monotonic()
            await write(number)
            took.append(time.monotonic() - began)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(writer())
    return sorted(took)[len(took) // 2] * 1e3


async def _check(mongo: Mongo, database: str, room_id: RoomId, messages: int) -> None:
    found = mongo[database]["messages"].find({"room": ObjectId(room_id)}, {"_id": 0, "seq": 1}).sort("seq", 1)
    if [each["seq"] async for each in found] != list(range(1, messages + 1)):
        raise RunFailedError("the room's seqs have holes")


# --------------------------------------------------------------------------------------------------- through HTTP


def _through_http(api: product.RoomsApi, messages: int) -> Mapping[str, float]:
    room_id = api.make_room()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_post_all(api.port, room_id, range(200)))
        before = machine.cpu_s(api.pid)
        seconds, took = runner.run(_post_all(api.port, room_id, range(200, 200 + messages)))
        cpu_s = machine.cpu_s(api.pid) - before
    return {"per_s": messages / seconds, "us": cpu_s * 1e6 / messages, "p50_ms": took}


async def _post_all(port: int, room_id: RoomId, numbers: range) -> tuple[float, float]:
    """Post with a minimal HTTP client, so that its own cost does not distort the measurement."""
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]
    free = list(connections)

    async def post(number: int) -> None:
        reader, writer = free.pop()
        content = {
            "text": "How many messages does a room take?",
            "client_message_id": f"bench-{number}",
            # A different user for each message, because rooms-api limits the rate per user.
            "user_id": f"{number:024x}",
            "color": "#808080",
        }
        body = json.dumps(content).encode()
        head = (
            f"POST /internal/v1/rooms/{room_id}/messages HTTP/1.1\r\nhost: rooms-api\r\n"
            f"authorization: Bearer {DEVELOPMENT_TOKEN}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 201"):
            raise RunFailedError(answer.decode())
        length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        free.append((reader, writer))

    began = time.monotonic()
    took = await _many(post, numbers, CONNECTIONS)
    seconds = time.monotonic() - began
    for _, writer in connections:
        writer.close()
    return seconds, took
