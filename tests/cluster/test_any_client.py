"""Clients whose only option is the transport connect to three gateways through a balancer without affinity."""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest

from gifchat_chassis.secret_rules import DEVELOPMENT_TOKEN
from gifchat_cli.ports import free_port
from gifchat_cli.servers.valkey import mark_as_new
from gifchat_contracts.identity import MEMBERSHIP_HEADER, MEMBERSHIP_SALT, SESSION_COOKIE, user_id_of
from gifchat_contracts.limits import HISTORY_PAGE_MAX
from gifchat_realtime_gateway.engine.relay import RELAY_PATH
from gifchat_testkit.crowds import ONE_ADDRESS, ROOMS_API_FOR_ONE_ADDRESS
from gifchat_testkit.plain_balancer import plain_balancer
from gifchat_testkit.services import Service, running_service
from gifchat_testkit.tokens import session_cookie, signed

E2E = Path(__file__).parents[1] / "e2e"
OLD_CLIENTS = Path(sys.prefix) / "old-clients"
OWNER = "the-owner-of-the-rooms"
GATEWAYS = 3
CONNECTS = 100
AT_ONCE = 10
MESSAGES = 3
DEADLINE_S = 60.0
LINE_BYTES = 16 * 1024 * 1024
TRANSPORTS = ("polling", "websocket", "default")
SOCKETS_AFTER = {"polling": "polling", "websocket": "websocket", "default": "websocket"}
"""The transport that a client uses in the end. By default it upgrades."""

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]


@dataclass(frozen=True)
class Kind:
    """A client library: its name in the driver, and the expected release."""

    name: str
    release: str
    old: bool = False

    @property
    def node(self) -> bool:
        return self.name.startswith("socket.io-client")


NODE_3_1 = Kind("socket.io-client-3.1", "3.1.")
NODE_4_0 = Kind("socket.io-client-4.0", "4.0.")
NODE = Kind("socket.io-client", "4.8.")
PYTHON = Kind("Client", version("python-socketio"))
PYTHON_ASYNC = Kind("AsyncClient", version("python-socketio"))
PYTHON_5_0 = Kind("Client", "5.0.", old=True)
PYTHON_5_0_ASYNC = Kind("AsyncClient", "5.0.", old=True)

CLIENTS = {
    "node-3.1": (NODE_3_1, "localhost"),
    "node-4.0": (NODE_4_0, "localhost"),
    "node": (NODE, "localhost"),
    "python": (PYTHON, "localhost"),
    "python-by-ip": (PYTHON, "127.0.0.1"),
    "python-async": (PYTHON_ASYNC, "localhost"),
    "python-async-by-ip": (PYTHON_ASYNC, "127.0.0.1"),
    "python-5.0": (PYTHON_5_0, "localhost"),
    "python-5.0-async": (PYTHON_5_0_ASYNC, "localhost"),
}
MIXED = ([NODE, NODE_3_1, NODE_4_0], [PYTHON, PYTHON_ASYNC], [PYTHON_5_0, PYTHON_5_0_ASYNC])
"""The client libraries that each driver runs together."""


@dataclass(frozen=True)
class Cluster:
    """Three gateways behind a plain balancer."""

    rooms_api: Service
    gateways: list[Service]
    port: int

    def url(self, host: str) -> str:
        return f"http://{host}:{self.port}"

    async def create_room(self) -> str:
        async with self._owner() as client:
            created = await client.post("/api/v1/rooms", json={"title": "a room", "max": 1_000})
            created.raise_for_status()
            return str(created.json()["_id"])

    async def history(self, room: str) -> list[tuple[int, str]]:
        """Return seq and text of every message in the room."""
        found: list[tuple[int, str]] = []
        membership = signed(MEMBERSHIP_SALT, {"r": room, "u": user_id_of(OWNER), "v": 1})
        more = True
        async with self._owner() as client:
            while more:
                after = found[-1][0] if found else 0
                answer = await client.get(
                    f"/api/v1/rooms/{room}/messages",
                    params={"after": after, "limit": HISTORY_PAGE_MAX},
                    headers={MEMBERSHIP_HEADER: membership},
                )
                page = answer.raise_for_status().json()
                found += [(entry["data"]["seq"], entry["data"]["chat"]) for entry in page["items"]]
                more = page["has_more"]
        return found

    def _owner(self) -> httpx.AsyncClient:
        cookie = f"{SESSION_COOKIE}={session_cookie(OWNER)}"
        return httpx.AsyncClient(base_url=self.rooms_api.url, headers={"Cookie": cookie})

    def relayed(self) -> float:
        """Return how many requests and WebSockets the gateways have relayed."""
        lines = [
            line
            for gateway in self.gateways
            for line in httpx.get(f"{gateway.url}/metrics").raise_for_status().text.splitlines()
            if line.startswith("gateway_relayed_total{")
        ]
        return sum(float(line.rpartition(" ")[2]) for line in lines)


@contextmanager
def running_cluster(mongo_url: str, valkey_url: str, work_dir: Path) -> Iterator[Cluster]:
    mark_as_new(valkey_url)
    port = free_port()
    # websocket-client sends an Origin, as a browser does.
    origins = f"http://localhost:{port},http://127.0.0.1:{port}"
    with ExitStack() as stack:
        rooms_api = stack.enter_context(
            running_service(
                "gifchat_rooms_api",
                work_dir,
                MONGO_URL=mongo_url,
                MONGO_DATABASE=f"test_{secrets.token_hex(6)}",
                REDIS_URL=valkey_url,
                **ROOMS_API_FOR_ONE_ADDRESS,
            )
        )
        gateways = [
            stack.enter_context(
                running_service(
                    "gifchat_realtime_gateway",
                    work_dir,
                    NODE_NAME=f"gateway-{number}",
                    ROOMS_API_URL=rooms_api.url,
                    REDIS_URL=valkey_url,
                    ALLOWED_ORIGINS=origins,
                    LOG_LEVEL="debug",
                    **ONE_ADDRESS,
                )
            )
            for number in range(GATEWAYS)
        ]
        stack.enter_context(plain_balancer([gateway.port for gateway in gateways], work_dir, port=port))
        yield Cluster(rooms_api, gateways, port)


@pytest.fixture(scope="module")
def cluster(mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(mongo_url, valkey_url, tmp_path_factory.mktemp("any-client")) as cluster:
        yield cluster
        for gateway in cluster.gateways:
            assert gateway.process.poll() is None, gateway.log[-3_000:]


@pytest.fixture(scope="module")
def node_clients() -> None:
    if shutil.which("npm") is None:
        pytest.skip("Node and npm are not installed")
    if not all((E2E / "node_modules" / kind.name).is_dir() for kind in (NODE_3_1, NODE_4_0, NODE)):
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=E2E, check=True)


def provide(kind: Kind, request: pytest.FixtureRequest) -> None:
    if kind.node:
        request.getfixturevalue("node_clients")
    elif kind.old and not OLD_CLIENTS.is_dir():
        pytest.skip("the old Python clients are not installed: make .venv/.dev")


class Driver:
    """A process that runs several clients and prints a report about each of them at the end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            line = await self._process.stdout.readline()
        assert line, "the driver exited early"
        return dict(json.loads(line))

    async def tell(self, line: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        await self._process.stdin.drain()

    async def reports(self, count: int) -> list[dict[str, Any]]:
        found = [await self.line() for _ in range(count)]
        async with asyncio.timeout(DEADLINE_S):
            assert await self._process.wait() == 0
        return found


@asynccontextmanager
async def driver(
    cluster: Cluster, host: str, room: str, clients: Sequence[tuple[Kind, str]], *, stay: bool = False
) -> AsyncIterator[Driver]:
    kind = clients[0][0]
    config = {
        "url": cluster.url(host),
        "room": room,
        "clients": [[kind.name, transports] for kind, transports in clients],
        "at_once": AT_ONCE,
        "messages": MESSAGES,
        "stay": stay,
    }
    command = ["node", str(E2E / "any_client.mjs")] if kind.node else [sys.executable, str(E2E / "any_client.py")]
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    if kind.old:
        environment["PYTHONPATH"] = str(OLD_CLIENTS)
    process = await asyncio.create_subprocess_exec(
        *command,
        json.dumps(config),
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_BYTES,
    )
    try:
        yield Driver(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.mark.parametrize("transports", TRANSPORTS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_every_client_joins_and_chats_at_its_first_attempt(
    cluster: Cluster, client: str, transports: str, request: pytest.FixtureRequest
) -> None:
    kind, host = CLIENTS[client]
    provide(kind, request)
    room = await cluster.create_room()
    relayed = cluster.relayed()
    async with driver(cluster, host, room, [(kind, transports)] * CONNECTS) as running:
        reports = await running.reports(CONNECTS)

    assert {report["client"]: report["faults"] for report in reports if report["faults"]} == {}
    assert {report["version"].startswith(kind.release) for report in reports} == {True}
    assert [report["connects"] for report in reports] == [1] * CONNECTS
    assert {report["transport"] for report in reports} == {SOCKETS_AFTER[transports]}
    log = await cluster.history(room)
    assert [seq for seq, _ in log] == list(range(1, CONNECTS * MESSAGES + 1))
    for report in reports:
        own = [f"{report['client']} {number}" for number in range(MESSAGES)]
        assert report["acked"] == own
        assert [text for _, text in log if text in own] == own
        received = [(seq, text) for seq, text in report["received"]]
        first = received[0][0]
        assert received == log[first - 1 : first - 1 + len(received)], (
            f"{report['client']} missed or reordered messages"
        )
    if transports != "websocket":
        # Each client sends at least one more request, and two of three reach a node that does not hold the session.
        assert cluster.relayed() - relayed > CONNECTS / 3


async def run_all_clients(cluster: Cluster, stack: AsyncExitStack, room: str) -> list[tuple[Driver, int]]:
    """Run all client libraries on all transports in the room. The first client of each driver posts messages."""
    started = []
    for kinds in MIXED:
        clients = [(kind, transports) for transports in ("default", "websocket", "polling") for kind in kinds]
        running = await stack.enter_async_context(driver(cluster, "localhost", room, clients, stay=True))
        started.append((running, len(clients)))
    for running, _ in started:
        assert await running.line() == {"ready": True}
    return started


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["drained", "killed"])
async def test_every_client_rejoins_without_a_loss_after_a_gateway_is_gone(
    mongo_url: str, valkey_url: str, tmp_path: Path, request: pytest.FixtureRequest, end: signal.Signals
) -> None:
    for kind in {kind for kinds in MIXED for kind in kinds}:
        provide(kind, request)
    with running_cluster(mongo_url, valkey_url, tmp_path) as cluster:
        room = await cluster.create_room()
        async with AsyncExitStack() as stack:
            drivers = await run_all_clients(cluster, stack, room)
            await until_written(cluster, room, 20)
            leaving = cluster.gateways[0]
            leaving.send(end)
            assert await asyncio.to_thread(leaving.wait) == (0 if end is signal.SIGTERM else -end)
            await until_written(cluster, room, len(await cluster.history(room)) + 40)
            for running, _ in drivers:
                await running.tell("stop")
            head = max([(await running.line())["head"] for running, _ in drivers])
            for running, _ in drivers:
                await running.tell(head)
            reports = [report for running, count in drivers for report in await running.reports(count)]
        log = await cluster.history(room)

    assert [seq for seq, _ in log] == list(range(1, head + 1))
    texts = [text for _, text in log]
    for report in reports:
        late = [fault for fault in report["faults"] if fault.startswith("not in time")]
        assert not late, report
        assert [(seq, text) for seq, text in report["received"]] == log, report["client"]
        assert all(report["recovered"]), report["client"]
        assert set(report["acked"]) <= set(texts)
        own = [int(text.split()[1]) for text in texts if text.split()[0] == report["client"]]
        assert own == sorted(set(own)), "a writer's messages keep their order"
    assert any(report["connects"] > 1 for report in reports)
    assert sum(len(report["acked"]) for report in reports) >= 40


async def test_a_poll_repeated_after_its_relay_died_ends_the_session(cluster: Cluster) -> None:
    """The first answer was lost with the relay. A second answer would lack its packets, so the session must end."""
    owner = f"{cluster.gateways[0].url}/socket.io/?EIO=4&transport=polling"
    relayed = owner.replace("/socket.io/", RELAY_PATH)
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {DEVELOPMENT_TOKEN}"}) as client:
        sid = json.loads((await client.get(owner)).text[1:])["sid"]

        async def say(packet: str) -> None:
            assert (await client.post(f"{owner}&sid={sid}", content=packet)).text == "ok"

        async def poll(url: str, t: str) -> httpx.Response:
            return await client.get(f"{url}&sid={sid}&t={t}")

        await say("40/chat,")
        assert (await poll(owner, "one")).text.startswith("40/chat,")
        # A poll is refused only if the previous poll had the same `t` and was relayed.
        for number, (url, t) in enumerate([(owner, "one"), (relayed, "one"), (relayed, "two"), (owner, "three")]):
            await say(f'42/chat,{number}["probe"]')
            assert (await poll(url, t)).text.startswith(f"43/chat,{number}[")
        await say('42/chat,4["probe"]')
        assert (await poll(relayed, "four")).text.startswith("43/chat,4[")
        await say('42/chat,5["probe"]')
        for url in (owner, relayed):
            repeated = await poll(url, "four")
            assert (repeated.status_code, repeated.json()["code"]) == (400, 1)


async def until_written(cluster: Cluster, room: str, count: int) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while len(await cluster.history(room)) < count:
            await asyncio.sleep(0.1)
