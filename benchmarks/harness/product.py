"""Runs parts of the real product: mongod, rooms-api, web and nginx."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
from redis import Redis

from benchmarks.harness import machine
from benchmarks.harness.testbed import Testbed, wait_for, with_environment
from gifchat_cli.blueprint import NGINX_TEMPLATE
from gifchat_cli.prerequisites import find_mongod, find_nginx
from gifchat_cli.servers.mongod import Mongod
from gifchat_cli.servers.nginx import Nginx, Upstreams
from gifchat_contracts import identity, keys, limits
from gifchat_contracts.identity import MEMBERSHIP_HEADER, MEMBERSHIP_SALT, SESSION_COOKIE
from gifchat_contracts.ids import RoomId
from gifchat_testkit.crowds import ROOMS_API_FOR_ONE_ADDRESS
from gifchat_testkit.servers import running
from gifchat_testkit.tokens import session_cookie, signed

SESSION = "bench-owner"


@dataclass(frozen=True, slots=True)
class Database:
    """A running mongod."""

    pid: int
    url: str


@contextmanager
def mongod(folder: Path, port: int) -> Iterator[Database]:
    """Run a mongod on the load generator's core."""
    data = folder / "mongo"
    data.mkdir()
    server = Mongod(find_mongod(), port, data)
    with running("mongod", machine.pinned(machine.LOAD_CORE, server.command()), folder, server.make_primary) as pid:
        yield Database(pid, server.url)


@dataclass(frozen=True, slots=True)
class RoomsApi:
    """A running rooms-api."""

    pid: int
    port: int

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, session: str = SESSION) -> httpx.Client:
        """Return an HTTP client with a user's session."""
        return httpx.Client(base_url=self.url, cookies={SESSION_COOKIE: session_cookie(session)}, trust_env=False)

    def make_room(self, owner: str = SESSION) -> RoomId:
        """Create a public room with enough seats."""
        with self.client(owner) as http:
            answer = http.post("/api/v1/rooms", json={"title": "A room", "max": limits.ROOM_MAX_MAX}).raise_for_status()
            return RoomId(answer.json()["_id"])

    def commit_seconds(self) -> tuple[float, int]:
        """Return the total time of all commits so far, and their number."""
        with self.client() as http:
            lines = http.get("/metrics").raise_for_status().text.splitlines()
        values = dict(line.rsplit(" ", 1) for line in lines if line.startswith("rooms_api_commit_seconds_"))
        return float(values["rooms_api_commit_seconds_sum"]), int(float(values["rooms_api_commit_seconds_count"]))


def membership(room_id: RoomId, session: str = SESSION) -> dict[str, str]:
    """Return the header that lets the user of a session post to a room."""
    user_id = identity.user_id_of(session)
    return {MEMBERSHIP_HEADER: signed(MEMBERSHIP_SALT, {"r": room_id, "u": user_id, "v": 1})}


def member(room_id: RoomId, session: str) -> dict[str, str]:
    """Return the headers of a member's requests: the session and the membership."""
    return {"cookie": f"{SESSION_COOKIE}={session_cookie(session)}", **membership(room_id, session)}


def take_seats(valkey_url: str, room_ids: Iterable[RoomId], sessions: Sequence[str]) -> None:
    """Seat these users in each of the rooms, as a gateway does, so that they may post."""
    seats = {identity.user_id_of(session): "1|#86362d" for session in sessions}
    with Redis.from_url(valkey_url) as redis, redis.pipeline(transaction=False) as pipeline:
        for room_id in room_ids:
            pipeline.hset(keys.members(room_id), mapping=seats)
        pipeline.execute()


@dataclass(frozen=True, slots=True)
class Process:
    """A running service."""

    pid: int
    port: int


@contextmanager
def web(testbed: Testbed, api: RoomsApi) -> Iterator[Process]:
    """Run a web service on the measured core, with `api` as its rooms-api."""
    port = testbed.port()
    environment = {"PORT": str(port), "ROOMS_API_URL": api.url}
    command = with_environment(environment, [sys.executable, "-m", "gifchat_web"])
    ready = partial(wait_for, port, "/health/ready")
    with running(f"web-{port}", machine.pinned(machine.SERVER_CORE, command), testbed.folder, ready) as pid:
        yield Process(pid, port)


@dataclass(frozen=True, slots=True)
class FrontDoor:
    """A running nginx."""

    master: int
    port: int

    def pids(self) -> list[int]:
        """Return the master and its children, without the cache loader, which exits after a minute."""
        children = Path(f"/proc/{self.master}/task/{self.master}/children").read_text().split()
        loader = b"cache loader"
        return [self.master, *(int(pid) for pid in children if loader not in Path(f"/proc/{pid}/cmdline").read_bytes())]


@contextmanager
def nginx(testbed: Testbed, api: RoomsApi, pages: Process) -> Iterator[FrontDoor]:
    """Run the product's nginx on the load generator's core, in front of rooms-api and web, without a gateway."""
    port, folder = testbed.port(), testbed.folder / "nginx"
    folder.mkdir()
    server = Nginx(
        binary=find_nginx(),
        template=NGINX_TEMPLATE,
        port=port,
        internal_port=testbed.port(),
        work_dir=folder,
        access_log=Path("/dev/null"),
        max_files=4_096,
        ipv6=False,
    )
    server.write_config(Upstreams(gateways=[testbed.port()], rooms_api=[api.port], web=[pages.port]))
    command = machine.pinned(machine.LOAD_CORE, server.command())
    with running("nginx", command, folder, partial(wait_for, port)) as pid:
        yield FrontDoor(pid, port)


@contextmanager
def rooms_api(testbed: Testbed, mongo_url: str, core: int, module: str = "gifchat_rooms_api") -> Iterator[RoomsApi]:
    """Run a rooms-api on `core`; `python -m` runs `module`."""
    port = testbed.port()
    environment = {
        "PORT": str(port),
        "MONGO_URL": mongo_url,
        "MONGO_DATABASE": f"bench_{port}",
        "REDIS_URL": testbed.valkey.url,
        "EMPTY_ROOM_TTL": "0",
        **ROOMS_API_FOR_ONE_ADDRESS,
        "PYTHONPATH": str(machine.ROOT),
    }
    command = machine.pinned(core, with_environment(environment, [sys.executable, "-m", module]))
    with running(f"rooms-api-{port}", command, testbed.folder, partial(wait_for, port, "/health/ready")) as pid:
        yield RoomsApi(pid, port)
