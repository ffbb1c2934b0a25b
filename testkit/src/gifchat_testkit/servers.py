"""A pytest plugin: a real MongoDB and a real Valkey per session, and an empty database in each for every test.

Fixtures:
    mongo_url (session): `mongodb://…` of a real mongod, a replica set of one node.
    mongo_database: the name of a database that only this test uses; dropped afterwards.
    valkey_url (session): `redis://…` of a real valkey-server without persistence.
    valkey: the URL of the same server, emptied for this test, with the generation markers of a new server.
"""

import secrets
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from redis import Redis

from gifchat_cli.parent_death import die_with_parent
from gifchat_cli.ports import free_port
from gifchat_cli.prerequisites import find_mongod, find_valkey_server
from gifchat_cli.servers.mongod import Mongod
from gifchat_cli.servers.readiness import NotReadyError
from gifchat_cli.servers.valkey import Valkey, mark_as_new

STOP_TIMEOUT_S = 15.0


@contextmanager
def running(name: str, command: list[str], work_dir: Path, wait_until_ready: Callable[[], None]) -> Iterator[int]:
    """Run `command` until the block ends; yields its pid.

    Raises:
        AssertionError: it did not become ready; the message has the last lines of its log.
    """
    log = work_dir / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - only one prctl call, and no option does the same
        )
    try:
        try:
            wait_until_ready()
        except NotReadyError as error:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise AssertionError(f"{error}\n{tail}") from error
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def mongo_url() -> Iterator[str]:
    """A real MongoDB, started once for the session."""
    with tempfile.TemporaryDirectory(prefix="gifchat-mongod-") as folder:
        work_dir = Path(folder)
        data_dir = work_dir / "data"
        data_dir.mkdir()
        mongod = Mongod(find_mongod(), free_port(), data_dir)
        with running("mongod", mongod.command(), work_dir, mongod.make_primary):
            yield mongod.url


@pytest.fixture
def mongo_database(mongo_url: str) -> Iterator[str]:
    """The name of a database for this test only."""
    name = f"test_{secrets.token_hex(6)}"
    yield name
    with MongoClient[dict[str, Any]](mongo_url) as client:
        client.drop_database(name)


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """A real Valkey, started once for the session."""
    with tempfile.TemporaryDirectory(prefix="gifchat-valkey-") as folder:
        work_dir = Path(folder)
        server = Valkey(find_valkey_server(), free_port(), work_dir)
        with running("valkey", server.command(), work_dir, server.wait_until_ready):
            mark_as_new(server.url)
            yield server.url


@pytest.fixture
def valkey(valkey_url: str) -> str:
    """Empty the session's Valkey except for the generation markers; the value is its URL."""
    with Redis.from_url(valkey_url) as client:
        client.flushall()
    mark_as_new(valkey_url)
    return valkey_url
