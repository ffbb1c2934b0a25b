"""What do the list of rooms, a room's page, static files and API reads cost in each process?"""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from benchmarks.harness import contenders, http_load, machine, product
from benchmarks.harness.fan_out import Log
from benchmarks.harness.load import RunFailedError
from benchmarks.harness.original import Original
from benchmarks.harness.rounds import Options, Result, interleaved
from benchmarks.harness.testbed import Testbed, open_testbed
from gifchat_contracts.identity import SESSION_COOKIE
from gifchat_contracts.ids import RoomId
from gifchat_testkit.tokens import session_cookie

TITLE = "What a visitor costs"
ROOMS = 20
"""Rooms in the list."""
MESSAGES = 50
"""Messages in the room whose history is read."""
OWNER = "bench-owner-0000"
VISITORS = 200
"""Users that send the requests, in turn."""
CONNECTIONS = 4

_FILE = re.compile(rb"""(?:src|href)="(/static/[^"]+|/main\.css|/main\.js)\"""")


@dataclass(frozen=True, slots=True)
class Question:
    """Requests of one kind, and which processes answer them."""

    port: int
    requests: Sequence[bytes]
    pids: Mapping[str, Sequence[int]]
    """Table column → processes whose CPU time it adds up."""
    per: int = 1
    """Requests per visit."""


def run(options: Options, log: Log) -> Result:
    """Send requests over persistent connections, and read the CPU clock of every process before and after."""
    columns = {
        "services": "µs of CPU in all services but nginx",
        "web": "web, or the original's one process",
        "api": "rooms-api",
        "nginx": "nginx",
    }
    result = Result("visitor", TITLE, columns)
    visits = options.size(1_000, 100)
    with ExitStack() as stack, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="gifchat-bench-")))
        testbed = stack.enter_context(open_testbed(folder))
        mongo = stack.enter_context(product.mongod(folder, testbed.port()))
        questions = {
            **_of_ours(stack, testbed, mongo, runner, visits),
            **_of_original(testbed, mongo, runner, visits),
        }
        measures = {label: partial(_measure, runner, question) for label, question in questions.items()}
        for measure in measures.values():
            measure()
        result.rows = interleaved(measures, options.rounds, log)
    result.ratio("the list ≤ 0.8 × the original's", "the list", "the list, the original", "web", 0.8)
    result.ratio("a room's page ≤ 0.8 × the original's", "a room's page", "a room's page, the original", "web", 0.8)
    result.bar("no static file reaches web", "a static file", "web", 5)
    result.bar("a new visitor ≤ 1.5 ms", "a new visitor", "services", 1_500)
    result.bar("a page of 50 messages ≤ 1 ms", "API: 50 messages", "api", 1_000)
    result.bar("the API's list ≤ 0.7 ms", "API: the list", "api", 700)
    result.bar("the API's room ≤ 0.4 ms", "API: a room", "api", 400)
    result.notes.append(
        f"{ROOMS} rooms; {VISITORS} users in turn, over {CONNECTIONS} kept connections. A new visitor has no cookie, "
        "gets the list and every file that it names, through nginx. Files are asked for through nginx, everything else "
        "from the service itself."
    )
    return result


def _of_ours(
    stack: ExitStack, testbed: Testbed, mongo: product.Database, runner: asyncio.Runner, visits: int
) -> dict[str, Question]:
    api = stack.enter_context(product.rooms_api(testbed, mongo.url, machine.SERVER_CORE))
    rooms = [api.make_room(f"bench-owner-{number:04d}") for number in range(ROOMS)]
    _fill(runner, api, rooms[0])
    web = stack.enter_context(product.web(testbed, api))
    nginx = stack.enter_context(product.nginx(testbed, api, web))
    cookies = cycle([f"{SESSION_COOKIE}={session_cookie(f'bench-visitor-{number:04d}')}" for number in range(VISITORS)])
    pids = {"web": [web.pid], "api": [api.pid]}
    behind = {**pids, "nginx": nginx.pids()}
    list_page = runner.run(_answer(nginx.port, http_load.request("GET", "/", {})))
    files = [found.decode() for found in dict.fromkeys(_FILE.findall(list_page.body))]
    if not files:
        raise RunFailedError("the list of rooms names no files")

    def asks(path: str) -> list[bytes]:
        return [http_load.request("GET", path, {"cookie": next(cookies)}) for _ in range(visits)]

    visit = [http_load.request("GET", path, {"accept-encoding": "gzip"}) for path in ("/", *files)]
    room = f"/api/v1/rooms/{rooms[0]}"
    owner = product.member(rooms[0], OWNER)
    return {
        "the list": Question(web.port, asks("/"), pids),
        "a room's page": Question(web.port, asks(f"/room/{rooms[0]}"), pids),
        "a static file": Question(nginx.port, asks(files[0]), behind),
        "a new visitor": Question(nginx.port, visit * (visits // 5), behind, len(visit)),
        "API: the list": Question(api.port, asks("/api/v1/rooms"), pids),
        "API: a room": Question(api.port, asks(room), pids),
        "API: 50 messages": Question(
            api.port, [http_load.request("GET", f"{room}/messages?limit={MESSAGES}", owner)] * visits, pids
        ),
    }


def _of_original(testbed: Testbed, mongo: product.Database, runner: asyncio.Runner, visits: int) -> dict[str, Question]:
    server = testbed.start(contenders.original(mongo.url))
    original = runner.run(Original.opened(server.port, VISITORS, rooms=ROOMS))
    cookies = cycle(original.cookies)
    pids = {"web": [server.pid]}

    def asks(path: str) -> list[bytes]:
        return [http_load.request("GET", path, {"cookie": next(cookies)}) for _ in range(visits)]

    visit = [http_load.request("GET", path, {}) for path in ("/", "/main.css", "/main.js")]
    return {
        "the list, the original": Question(server.port, asks("/"), pids),
        "a room's page, the original": Question(server.port, asks(f"/room/{original.room_id}"), pids),
        "a static file, the original": Question(server.port, asks("/main.css"), pids),
        "a new visitor, the original": Question(server.port, visit * (visits // 5), pids, len(visit)),
    }


def _fill(runner: asyncio.Runner, api: product.RoomsApi, room_id: RoomId) -> None:
    path = f"/api/v1/rooms/{room_id}/messages"
    headers = {**product.member(room_id, OWNER), "content-type": "application/json"}
    messages = [
        {"client_message_id": f"bench-{number}", "text": f"message {number}: how are you today?"}
        for number in range(MESSAGES)
    ]
    posts = [http_load.request("POST", path, headers, json.dumps(message).encode()) for message in messages]
    runner.run(http_load.send(api.port, posts, connections=1, status=201))


async def _answer(port: int, content: bytes) -> http_load.Answer:
    line = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await http_load.exchange(line, content)
    finally:
        line[1].close()


def _measure(runner: asyncio.Runner, question: Question) -> Mapping[str, float]:
    before = machine.cpu_s_by_name(question.pids)
    runner.run(http_load.send(question.port, question.requests, connections=CONNECTIONS))
    visits = len(question.requests) / question.per
    used = {name: (after - before[name]) * 1e6 / visits for name, after in machine.cpu_s_by_name(question.pids).items()}
    return {"services": sum(cpu for name, cpu in used.items() if name != "nginx"), **used}
