"""The official client joins once with the original's bare `join`, loses its transport, and is restored to the room."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gifchat_testkit.gateway_system import System, Visitor, running_system
from gifchat_testkit.plain_balancer import plain_balancer

HERE = Path(__file__).parent
DEADLINE_S = 25.0

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(shutil.which("npm") is None, reason="Node and npm are not installed"),
]


@pytest.fixture(scope="module", autouse=True)
def official_client() -> None:
    if not (HERE / "node_modules" / "socket.io-client").is_dir():
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=HERE, check=True)


@pytest.fixture(scope="module")
def system(mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running_system(mongo_url, valkey_url, tmp_path_factory.mktemp("restored")) as system:
        yield system


@pytest.fixture(scope="module")
def url(system: System) -> Iterator[str]:
    """Two gateways behind a balancer without affinity."""
    with (
        system.gateway("restored-1") as one,
        system.gateway("restored-2") as two,
        plain_balancer([one.port, two.port], system.work_dir) as url,
    ):
        yield url


class Client:
    """A Node.js process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def next(self) -> dict[str, Any]:
        """Return the next JSON line that the process prints."""
        assert self._process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            line = await self._process.stdout.readline()
        assert line, "the client ended"
        said: dict[str, Any] = json.loads(line)
        return said

    def break_transport(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"break\n")


@asynccontextmanager
async def client(**how: Any) -> AsyncIterator[Client]:
    process = await asyncio.create_subprocess_exec(
        *("node", str(HERE / "restored_client.mjs"), json.dumps(how)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield Client(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(DEADLINE_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("transports", [["polling"], ["websocket"], ["polling", "websocket"]], ids="+".join)
@pytest.mark.parametrize("positions", [False, True], ids=["bare", "with positions"])
async def test_the_official_client_is_restored_to_its_room_without_a_second_join(
    system: System, url: str, transports: list[str], positions: bool
) -> None:
    anne, bob = Visitor(system), Visitor(system)
    room = await anne.create_room()

    async def say(text: str) -> None:
        message = {"client_message_id": text, "text": text}
        await anne.ask("POST", f"/{room}/messages", json=message)

    async with client(url=url, transports=transports, cookie=anne.cookie, room=room, positions=False) as owner:
        assert await owner.next() == {"event": "connect", "recovered": False}
        assert await owner.next() == {"event": "joined", "ok": True}
        async with client(url=url, transports=transports, cookie=bob.cookie, room=room, positions=positions) as guest:
            assert await guest.next() == {"event": "connect", "recovered": False}
            assert await guest.next() == {"event": "joined", "ok": True}
            await say("before")
            assert await guest.next() == {"event": "chat", "text": "before"}
            for number in range(2):
                guest.break_transport()
                assert await guest.next() == {"event": "connect", "recovered": positions}
                await say(f"after-{number}")
                assert await guest.next() == {"event": "chat", "text": f"after-{number}"}
