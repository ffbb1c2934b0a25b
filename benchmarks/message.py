"""What does a message to a room of 60 people cost in each process, until all of them have it?"""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import uvloop

from benchmarks.harness import contenders, http_load, machine, product
from benchmarks.harness.fan_out import SETTLE_S, Log
from benchmarks.harness.load import Load, load
from benchmarks.harness.original import Original
from benchmarks.harness.rounds import Options, Result, interleaved
from benchmarks.harness.socket_senders import SocketSenders
from benchmarks.harness.testbed import Server, Testbed, open_testbed
from gifchat_cli.bench.generator import stamp
from gifchat_contracts.ids import RoomId

TITLE = "What a message costs, until 60 people have it"
PEOPLE = 60
GATEWAYS = 3
ROOMS = 300
"""The number of rooms that `SCATTERED` posts to, in turn."""
CONNECTIONS = 24
SENDERS = 30
"""The number of people in the room who send by socket. At `RATE`, each sends the ten events a second that it may."""
RATE = 300
"""Messages per second, a rate that the original can also handle."""
HOT_RATE = 500
"""Messages per second, a rate that the original cannot handle."""

OURS = "GIF Chat"
HOT = f"GIF Chat, {HOT_RATE} a second"
SCATTERED = "GIF Chat, each message in another room, empty"
SOCKET = "GIF Chat, sent by socket"
ORIGINAL = "the original"

MakeRequest = Callable[[int, str], bytes]
"""(number of the message, text) → the request that posts the text."""
Send = Callable[[Sequence[tuple[int, str]], float], Coroutine[Any, Any, list[float]]]
"""(numbered texts, messages per second) → the seconds until each was answered."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Where messages are posted, and which processes handle them."""

    send: Send
    audience: Sequence[Load]
    pids: Mapping[str, Sequence[int]]
    """Table column → processes whose CPU time it adds up."""
    numbers: Iterator[int] = field(default_factory=count)
    """The numbers of the messages; the load generator expects them to count from 0."""


def run(options: Options, log: Log) -> Result:
    """Post at a steady rate, and read the CPU clock of every process before and after."""
    columns = {
        "all": "µs of CPU per message, all processes",
        "services": "rooms-api and gateways",
        "api": "rooms-api, or the original's one process",
        "gateways": "gateways",
        "mongod": "mongod",
        "valkey": "Valkey",
        "p50_ms": "answer, p50, ms",
        "p99_ms": "p99",
    }
    result = Result("message", TITLE, columns)
    messages = options.size(3_000, 400)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="gifchat-bench-")))
        testbed = stack.enter_context(open_testbed(folder))
        mongo = stack.enter_context(product.mongod(folder, testbed.port()))
        hot, scattered, by_socket = _ours(stack, testbed, mongo, runner)
        original = _original(stack, testbed, mongo, runner)
        for clients in (*hot.audience, *by_socket.audience, *original.audience):
            clients.idle(SETTLE_S)
        measure = partial(_measure, runner, messages)
        for scene in (hot, by_socket, scattered, original):
            measure(scene, RATE)
        measures = {
            OURS: partial(measure, hot, RATE),
            SOCKET: partial(measure, by_socket, RATE),
            HOT: partial(measure, hot, HOT_RATE),
            SCATTERED: partial(measure, scattered, RATE),
            ORIGINAL: partial(measure, original, RATE),
        }
        result.rows = interleaved(measures, options.rounds, log)
    result.bar("rooms-api in a hot room ≤ 500 µs", HOT, "api", 500)
    result.bar("rooms-api, each message in another room ≤ 700 µs", SCATTERED, "api", 700)
    result.ratio("all processes ≤ 0.4 × the original's", OURS, ORIGINAL, "all", 0.4)
    result.ratio("by socket, all processes ≤ 1.3 × the POST's", SOCKET, OURS, "all", 1.3)
    result.ratio("by socket, rooms-api and gateways ≤ 1.3 × the POST's", SOCKET, OURS, "services", 1.3)
    result.notes.append(
        f"{PEOPLE} people, in GIF Chat on {GATEWAYS} gateways. {RATE} messages a second unless the row says otherwise, "
        f"over {CONNECTIONS} connections, by {PEOPLE} users in turn. The original stores with the driver's defaults; "
        "GIF Chat waits for the journal of a majority. The original delivers in its one process."
    )
    result.notes.append(
        f"By socket: {SENDERS} of the {PEOPLE} people send the event `chat`, each on its own WebSocket, and the "
        "answer is the ack. The gateway has seated them, so rooms-api looks up no seat. A POST includes this look-up "
        "(docs/adr/0030-reading-and-posting-need-a-seat.md)."
    )
    return result


def _ours(
    stack: ExitStack, testbed: Testbed, mongo: product.Database, runner: asyncio.Runner
) -> tuple[Scene, Scene, Scene]:
    """Return the scenes of a hot room, of many rooms, and of a hot room whose people send by socket."""
    api = stack.enter_context(product.rooms_api(testbed, mongo.url, machine.SERVER_CORE))
    hot, by_socket, *others = [api.make_room(f"bench-owner-{number:04d}") for number in range(2 + ROOMS)]
    gateways = [testbed.start(contenders.OURS, rooms_api_port=api.port) for _ in range(GATEWAYS)]
    hot_audience = _audience(stack, testbed, gateways, hot, PEOPLE)
    product.take_seats(testbed.valkey.url, [hot, *others], [_writer(number) for number in range(PEOPLE)])
    socket_audience = _audience(stack, testbed, gateways, by_socket, PEOPLE - SENDERS)
    senders = runner.run(
        SocketSenders.open(
            _async_stack(stack, runner),
            [each.port for each in gateways],
            by_socket,
            [_writer(number) for number in range(SENDERS)],
        )
    )
    pids = {
        "api": [api.pid],
        "gateways": [each.pid for each in gateways],
        "mongod": [mongo.pid],
        "valkey": [testbed.valkey_pid],
    }
    return (
        Scene(_by_post(api.port, 201, _posts([hot])), hot_audience, pids),
        Scene(_by_post(api.port, 201, _posts(others)), [], pids),
        Scene(senders.send, socket_audience, pids),
    )


def _audience(
    stack: ExitStack, testbed: Testbed, gateways: Sequence[Server], room_id: RoomId, people: int
) -> Sequence[Load]:
    """Join people who only listen, as many at each gateway."""
    each = people // len(gateways)
    loads = [stack.enter_context(load(gateway, testbed.folder, [0] * each, room_ids=[room_id])) for gateway in gateways]
    for clients in loads:
        clients.connect(each)
    return loads


def _async_stack(stack: ExitStack, runner: asyncio.Runner) -> AsyncExitStack:
    """Return a stack that `stack` closes."""
    inner = AsyncExitStack()
    stack.callback(lambda: runner.run(inner.aclose()))
    return inner


def _by_post(port: int, status: int, request: MakeRequest) -> Send:
    """Send by requests that are answered with `status`."""

    def send(messages: Sequence[tuple[int, str]], per_s: float) -> Coroutine[Any, Any, list[float]]:
        posts = [request(number, text) for number, text in messages]
        return http_load.send(port, posts, connections=CONNECTIONS, per_s=per_s, status=status)

    return send


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
    return Scene(_by_post(server.port, 200, original.post), [clients], {"api": [server.pid], "mongod": [mongo.pid]})


def _measure(runner: asyncio.Runner, messages: int, scene: Scene, rate: int) -> Mapping[str, float]:
    timeout_s = messages / rate + 30
    for clients in scene.audience:
        clients.listen(messages, timeout_s)
    sending = scene.send([_stamped(next(scene.numbers)) for _ in range(messages)], rate)
    before = machine.cpu_s_by_name(scene.pids)
    took = sorted(runner.run(sending))
    for clients in scene.audience:
        clients.finish_listening(timeout_s, in_order=False)
    used = {name: (after - before[name]) * 1e6 / messages for name, after in machine.cpu_s_by_name(scene.pids).items()}
    answers = {"p50_ms": took[len(took) // 2] * 1e3, "p99_ms": took[int(len(took) * 0.99)] * 1e3}
    services = used["api"] + used.get("gateways", 0.0)
    return {"all": sum(used.values()), "services": services, **used, **answers}


def _stamped(number: int) -> tuple[int, str]:
    return number, stamp(int(time.monotonic() * 1e6), number + 1, number)
