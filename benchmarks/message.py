"""What does a message to a room of 60 people cost in each process, until all of them have it?"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from benchmarks.harness import contenders, http_load, machine, product
from benchmarks.harness.fan_out import SETTLE_S, Log
from benchmarks.harness.load import Load, load
from benchmarks.harness.original import Original
from benchmarks.harness.rounds import Options, Result, interleaved
from benchmarks.harness.testbed import Testbed, open_testbed
from gifchat_cli.bench.generator import stamp
from gifchat_contracts.ids import RoomId

TITLE = "What a message costs, from its POST to 60 deliveries"
PEOPLE = 60
GATEWAYS = 3
ROOMS = 300
"""The number of rooms that `SCATTERED` posts to, in turn."""
CONNECTIONS = 24
RATE = 300
"""Messages per second, a rate that the original can also handle."""
HOT_RATE = 500
"""Messages per second, a rate that the original cannot handle."""

OURS = "GIF Chat"
HOT = f"GIF Chat, {HOT_RATE} a second"
SCATTERED = "GIF Chat, each message in another room, empty"
ORIGINAL = "the original"

MakeRequest = Callable[[int, str], bytes]
"""(number of the message, text) → the request that posts the text."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Where messages are posted, and which processes handle them."""

    port: int
    status: int
    request: MakeRequest
    audience: Sequence[Load]
    pids: Mapping[str, Sequence[int]]
    """Table column → processes whose CPU time it adds up."""
    numbers: Iterator[int] = field(default_factory=count)
    """The numbers of the messages; the load generator expects them to count from 0."""


def run(options: Options, log: Log) -> Result:
    """Post at a steady rate, and read the CPU clock of every process before and after."""
    columns = {
        "all": "µs of CPU per message, all processes",
        "api": "rooms-api, or the original's one process",
        "gateways": "gateways",
        "mongod": "mongod",
        "valkey": "Valkey",
        "p50_ms": "answer, p50, ms",
        "p99_ms": "p99",
    }
    result = Result("message", TITLE, columns)
    messages = options.size(3_000, 400)
    with ExitStack() as stack, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="gifchat-bench-")))
        testbed = stack.enter_context(open_testbed(folder))
        mongo = stack.enter_context(product.mongod(folder, testbed.port()))
        hot, scattered = _ours(stack, testbed, mongo)
        original = _original(stack, testbed, mongo, runner)
        for clients in (*hot.audience, *original.audience):
            clients.idle(SETTLE_S)
        measure = partial(_measure, runner, messages)
        for scene in (hot, scattered, original):
            measure(scene, RATE)
        measures = {
            OURS: partial(measure, hot, RATE),
            HOT: partial(measure, hot, HOT_RATE),
            SCATTERED: partial(measure, scattered, RATE),
            ORIGINAL: partial(measure, original, RATE),
        }
        result.rows = interleaved(measures, options.rounds, log)
    result.bar("rooms-api in a hot room ≤ 500 µs", HOT, "api", 500)
    result.bar("rooms-api, each message in another room ≤ 700 µs", SCATTERED, "api", 700)
    result.ratio("all processes ≤ 0.4 × the original's", OURS, ORIGINAL, "all", 0.4)
    result.notes.append(
        f"{PEOPLE} people, in GIF Chat on {GATEWAYS} gateways. {RATE} messages a second unless the row says otherwise, "
        f"over {CONNECTIONS} connections, by {PEOPLE} users in turn. The original stores with the driver's defaults; "
        "GIF Chat waits for the journal of a majority. The original delivers in its one process."
    )
    return result


def _ours(stack: ExitStack, testbed: Testbed, mongo: product.Database) -> tuple[Scene, Scene]:
    api = stack.enter_context(product.rooms_api(testbed, mongo.url, machine.SERVER_CORE))
    room_id, *others = [api.make_room(f"bench-owner-{number:04d}") for number in range(1 + ROOMS)]
    gateways = [testbed.start(contenders.OURS, rooms_api_port=api.port) for _ in range(GATEWAYS)]
    audience = [
        stack.enter_context(load(gateway, testbed.folder, [0] * (PEOPLE // GATEWAYS), room_ids=[room_id]))
        for gateway in gateways
    ]
    for clients in audience:
        clients.connect(PEOPLE // GATEWAYS)
    product.take_seats(testbed.valkey.url, [room_id, *others], [_writer(number) for number in range(PEOPLE)])
    pids = {
        "api": [api.pid],
        "gateways": [each.pid for each in gateways],
        "mongod": [mongo.pid],
        "valkey": [testbed.valkey_pid],
    }
    return (
        Scene(api.port, 201, _posts([room_id]), audience, pids),
        Scene(api.port, 201, _posts(others), [], pids),
    )


def _writer(number: int) -> str:
    """Return the session of a writer."""
    return f"bench-writer-{number % PEOPLE:04d}"


def _posts(rooms: Sequence[RoomId]) -> MakeRequest:
    """Post as each user in turn, to each of `rooms` in turn."""
    posters = []
    for number in range(max(PEOPLE, len(rooms))):
        session, room_id = _writer(number), rooms[number % len(rooms)]
        headers = {
            **product.member(room_id, session),
            "content-type": "application/json",
        }
        posters.append((f"/api/v1/rooms/{room_id}/messages", headers))

    def request(number: int, text: str) -> bytes:
        path, headers = posters[number % len(posters)]
        body = json.dumps({"client_message_id": f"bench-{number}", "text": text}).encode()
        return http_load.request("POST", path, headers, body)

    return request


def _original(stack: ExitStack, testbed: Testbed, mongo: product.Database, runner: asyncio.Runner) -> Scene:
    server = testbed.start(contenders.original(mongo.url))
    original = runner.run(Original.opened(server.port, PEOPLE))
    clients = stack.enter_context(load(server, testbed.folder, [0] * PEOPLE, room_ids=[original.room_id]))
    clients.connect(PEOPLE)
    return Scene(server.port, 200, original.post, [clients], {"api": [server.pid], "mongod": [mongo.pid]})


def _measure(runner: asyncio.Runner, messages: int, scene: Scene, rate: int) -> Mapping[str, float]:
    timeout_s = messages / rate + 30
    for clients in scene.audience:
        clients.listen(messages, timeout_s)
    posts = [_request(scene, next(scene.numbers)) for _ in range(messages)]
    before = machine.cpu_s_by_name(scene.pids)
    sending = http_load.send(scene.port, posts, connections=CONNECTIONS, per_s=rate, status=scene.status)
    took = sorted(runner.run(sending))
    for clients in scene.audience:
        clients.finish_listening(timeout_s, in_order=False)
    used = {name: (after - before[name]) * 1e6 / messages for name, after in machine.cpu_s_by_name(scene.pids).items()}
    answers = {"p50_ms": took[len(took) // 2] * 1e3, "p99_ms": took[int(len(took) * 0.99)] * 1e3}
    return {"all": sum(used.values()), **used, **answers}


def _request(scene: Scene, number: int) -> bytes:
    return scene.request(number, stamp(int(time.monotonic() * 1e6), number + 1, number))
