"""A real mongod, a real rooms-api, and rooms in it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from benchmarks.harness import machine
from benchmarks.harness.servers import Testbed, wait_for, with_environment
from gifchat_cli.prerequisites import find_mongod
from gifchat_cli.servers.mongod import Mongod
from gifchat_contracts import identity, limits
from gifchat_contracts.identity import MEMBERSHIP_HEADER, MEMBERSHIP_SALT, SESSION_COOKIE
from gifchat_contracts.ids import RoomId
from gifchat_testkit.servers import running
from gifchat_testkit.tokens import session_cookie, signed

SESSION = "bench-owner"


@contextmanager
def mongod(folder: Path, port: int) -> Iterator[str]:
    """Run a mongod on the load generator's core; yields its URL."""
    data = folder / "mongo"
    data.mkdir()
    server = Mongod(find_mongod(), port, data)
    with running("mongod", machine.pinned(machine.LOAD_CORE, server.command()), folder, server.make_primary):
        yield server.url


@dataclass(frozen=True, slots=True)
class RoomsApi:
    """A running rooms-api."""

    pid: int
    port: int

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> httpx.Client:
        """Return an HTTP client with the owner's session."""
        return httpx.Client(base_url=self.url, cookies={SESSION_COOKIE: session_cookie(SESSION)}, trust_env=False)

    def make_room(self) -> RoomId:
        """Create a public room with enough seats."""
        with self.client() as http:
            answer = http.post("/api/v1/rooms", json={"title": "A room", "max": limits.ROOM_MAX_MAX}).raise_for_status()
            return RoomId(answer.json()["_id"])

    def commit_seconds(self) -> tuple[float, int]:
        """Return the total time of all commits so far, and their number."""
        with self.client() as http:
            lines = http.get("/metrics").raise_for_status().text.splitlines()
        values = dict(line.rsplit(" ", 1) for line in lines if line.startswith("rooms_api_commit_seconds_"))
        return float(values["rooms_api_commit_seconds_sum"]), int(float(values["rooms_api_commit_seconds_count"]))


def membership(room_id: RoomId) -> dict[str, str]:
    """Return the header that allows the owner to post."""
    user_id = identity.user_id_of(SESSION)
    return {MEMBERSHIP_HEADER: signed(MEMBERSHIP_SALT, {"r": room_id, "u": user_id, "v": 1})}


@contextmanager
def rooms_api(testbed: Testbed, mongo_url: str, core: int, module: str = "gifchat_rooms_api") -> Iterator[RoomsApi]:
    """Run a rooms-api; `module` is the module to run."""
    port = testbed.port()
    environment = {
        "PORT": str(port),
        "MONGO_URL": mongo_url,
        "MONGO_DATABASE": f"bench_{port}",
        "REDIS_URL": testbed.valkey.url,
        "EMPTY_ROOM_TTL": "0",
        "PYTHONPATH": str(machine.ROOT),
    }
    command = machine.pinned(core, with_environment(environment, [sys.executable, "-m", module]))
    with running(f"rooms-api-{port}", command, testbed.folder, partial(wait_for, port, "/health/ready")) as pid:
        yield RoomsApi(pid, port)
