"""The official socket.io-client through nginx, with only the original's events and routes."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from gifchat_testkit.cluster import EmbeddedCluster

HERE = Path(__file__).parent
DEADLINE_S = 25.0

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(shutil.which("npm") is None, reason="Node and npm are not installed"),
]

TRANSPORTS = {
    "polling": {"transports": ["polling"], "upgrade": False},
    "websocket": {"transports": ["websocket"], "upgrade": False},
    "upgrade": {"transports": ["polling", "websocket"], "upgrade": True},
}


@pytest.fixture(scope="module", autouse=True)
def official_client() -> None:
    if not (HERE / "node_modules" / "socket.io-client").is_dir():
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=HERE, check=True)


class OriginalClient:
    """A Node.js process that prints its events."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.seen: list[dict[str, Any]] = []

    async def until(self, namespace: str, event: str, **fields: Any) -> Any:
        """Return the data of the next matching event. Every event is kept in `seen`."""
        assert self._process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            while line := await self._process.stdout.readline():
                entry = json.loads(line)
                self.seen.append(entry)
                data = entry["data"]
                if (entry["namespace"], entry["event"]) == (namespace, event) and all(
                    isinstance(data, dict) and data.get(key) == value for key, value in fields.items()
                ):
                    return data
        raise AssertionError(f"the client ended; seen: {self.seen}")

    async def once(self, namespace: str, event: str) -> Any:
        """Return the data of an event that may already have arrived."""
        for entry in self.seen:
            if (entry["namespace"], entry["event"]) == (namespace, event):
                return entry["data"]
        return await self.until(namespace, event)

    async def emit(self, namespace: str, event: str, data: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"emit": [namespace, event, data]}).encode() + b"\n")
        await self._process.stdin.drain()


@asynccontextmanager
async def original_client(url: str, how: str, cookie: str | None, room: str | None) -> AsyncIterator[OriginalClient]:
    argument = json.dumps({"url": url, "cookie": cookie, "room": room, **TRANSPORTS[how]})
    process = await asyncio.create_subprocess_exec(
        "node",
        str(HERE / "original_client.mjs"),
        argument,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield OriginalClient(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(DEADLINE_S):
            await process.wait()


@asynccontextmanager
async def visitor(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A browser-like visitor with the session cookie and the sticky cookie of a gateway."""
    async with httpx.AsyncClient(base_url=url, timeout=DEADLINE_S) as client:
        (await client.get("/")).raise_for_status()
        (await client.get("/socket.io/", params={"EIO": "4", "transport": "polling"})).raise_for_status()
        yield client


def cookie_header(client: httpx.AsyncClient) -> str:
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in client.cookies.jar)


async def create_room(client: httpx.AsyncClient, **form: str) -> str:
    answer = await client.post("/room", data={"title": "원래의 방", "max": "10", **form})
    assert answer.status_code == 302, answer.text
    return answer.headers["location"].removeprefix("/room/").split("?")[0]


@pytest.mark.parametrize("how", TRANSPORTS)
async def test_the_originals_events_work_through_nginx(cluster: EmbeddedCluster, how: str) -> None:
    async with visitor(cluster.url) as alice, visitor(cluster.url) as bob:
        async with original_client(cluster.url, how, cookie_header(bob), None) as lobby:
            await lobby.until("/room", "connect")
            room = await create_room(alice)
            new_room = await lobby.until("/room", "newRoom", _id=room)
            assert new_room["title"] == "원래의 방"
            assert new_room["max"] == 10
            assert new_room["owner"].startswith("#")
            assert new_room["createdAt"].endswith("Z")
            assert "password" not in new_room
            assert await lobby.until("/", "news") == "Hello Socket.IO"
            await lobby.emit("/", "reply", {"any": "data"})

        async with original_client(cluster.url, how, cookie_header(alice), room) as first:
            await first.until("/chat", "connect")
            if how == "upgrade":
                assert await first.once("", "upgrade") == "websocket"
            await _wait_until_member(alice, room)
            async with original_client(cluster.url, how, cookie_header(bob), room) as second:
                joined = await first.until("/chat", "join", user="system")
                assert joined["chat"].endswith("님이 입장하셨습니다.")
                answer = await bob.post(f"/room/{room}/chat", data={"chat": "안녕하세요"})
                assert (answer.status_code, answer.text) == (200, "ok")
                for client in (first, second):
                    message = await client.until("/chat", "chat", chat="안녕하세요")
                    assert message["room"] == room
                    assert message["user"] == joined["color"]
                    assert {"_id", "createdAt"} <= message.keys()
            left = await first.until("/chat", "exit", user="system")
            assert left["chat"].endswith("님이 퇴장하셨습니다.")
            assert (await alice.delete(f"/room/{room}")).text == "ok"


async def _wait_until_member(client: httpx.AsyncClient, room: str) -> None:
    """Wait until the bare `join`, which the original does not ack, has taken effect."""
    async with asyncio.timeout(DEADLINE_S):
        while (await client.get(f"/api/v1/rooms/{room}/messages")).status_code != 200:
            await asyncio.sleep(0.05)


async def test_a_guest_without_a_cookie_joins_an_open_room(cluster: EmbeddedCluster) -> None:
    async with visitor(cluster.url) as alice:
        room = await create_room(alice)
        async with original_client(cluster.url, "websocket", cookie_header(alice), room) as owner:
            await owner.until("/chat", "connect")
            await _wait_until_member(alice, room)
            async with original_client(cluster.url, "websocket", None, room):
                guest = await owner.until("/chat", "join", user="system")
                assert guest["color"].startswith("#")


async def test_a_private_room_opens_for_the_session_that_entered_the_password(cluster: EmbeddedCluster) -> None:
    async with visitor(cluster.url) as alice, visitor(cluster.url) as bob, visitor(cluster.url) as eve:
        room = await create_room(alice, password="비밀 번호&1")
        wrong = await bob.get(f"/room/{room}", params={"password": "wrong"}, headers={"accept-language": "ko"})
        assert wrong.status_code in (302, 303)
        assert "%EB%B9%84%EB%B0%80%EB%B2%88%ED%98%B8" in wrong.headers["location"]
        right = await bob.get(f"/room/{room}", params={"password": "비밀 번호&1"})
        assert right.headers["location"].endswith(f"/room/{room}")
        async with original_client(cluster.url, "websocket", cookie_header(bob), room) as member:
            await member.until("/chat", "connect")
            await _wait_until_member(bob, room)
            async with original_client(cluster.url, "websocket", cookie_header(eve), room) as stranger:
                await stranger.until("/chat", "connect")
                refused = await eve.get(f"/api/v1/rooms/{room}/messages")
                assert refused.json()["code"] == "not_a_member"
                await bob.post(f"/room/{room}/chat", data={"chat": "우리끼리"})
                await member.until("/chat", "chat", chat="우리끼리")
                await stranger.until("/", "news")
                assert not any(entry["event"] == "chat" for entry in stranger.seen)


async def test_the_plain_websocket_reports_its_status(cluster: EmbeddedCluster) -> None:
    async with websockets.connect(cluster.url.replace("http", "ws", 1) + "/ws") as socket:
        await socket.send("anything")
        await socket.send(b"\x00\x01")
        async with asyncio.timeout(DEADLINE_S):
            status = json.loads(await socket.recv())
    assert {"time", "node", "online"} <= status.keys()
