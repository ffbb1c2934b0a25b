"""The official socket.io-client against the engine alone: every protocol feature on every transport."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gifchat_testkit.engine_worlds import World, chat_world, served

HERE = Path(__file__).parent
TRANSPORTS = {
    "polling": {"transports": ["polling"], "upgrade": False},
    "websocket": {"transports": ["websocket"], "upgrade": False},
    "upgrade": {"transports": ["polling", "websocket"], "upgrade": True},
}

pytestmark = pytest.mark.skipif(shutil.which("npm") is None, reason="Node and npm are not installed")


@pytest.fixture(scope="module", autouse=True)
def official_client() -> None:
    if not (HERE / "node_modules" / "socket.io-client").is_dir():
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=HERE, check=True)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with served(chat_world(ping_interval_s=0.3, ping_timeout_s=5.0)) as world:
        yield world


@pytest.fixture(scope="module")
def deflating_world() -> Iterator[World]:
    with served(chat_world(ping_interval_s=0.3, ping_timeout_s=5.0, deflate=True)) as world:
        yield world


@pytest.mark.parametrize("how", TRANSPORTS)
def test_every_protocol_feature_works_with_the_official_client(world: World, how: str) -> None:
    check(world, how)


@pytest.mark.parametrize("how", ["websocket", "upgrade"])
def test_every_protocol_feature_works_with_compression(deflating_world: World, how: str) -> None:
    check(deflating_world, how)


def check(world: World, how: str) -> None:
    argument = json.dumps({"url": world.url, **TRANSPORTS[how]})
    ended = subprocess.run(
        ["node", str(HERE / "protocol_client.mjs"), argument], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    results = [json.loads(line) for line in ended.stdout.splitlines()]
    failed = [f"{result['name']}:\n{result['error']}" for result in results if result["error"]]
    assert len(results) == 13
    assert failed == [], "\n\n".join(failed)
