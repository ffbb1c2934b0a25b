"""`python -m faults.system.failing_rooms_api`: a rooms-api that dies or stops publishing on command.

The service has no failpoints; this module patches them in. A row sets them over HTTP on the service's own port,
without nginx.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal

import httpx
from starlette.applications import Starlette
from starlette.types import Message, Receive, Scope, Send

from faults.system.cluster import Node
from gifchat_cli.ports import LOOPBACK
from gifchat_contracts.codec import Frame, decode
from gifchat_contracts.ids import RoomId
from gifchat_contracts.keys import room_of_channel
from gifchat_rooms_api import __main__ as service
from gifchat_rooms_api import app
from gifchat_rooms_api.adapters.mongo_messages import MongoMessages
from gifchat_rooms_api.adapters.redis_publisher import RedisPublisher
from gifchat_rooms_api.domain.message import LogEntry
from gifchat_rooms_api.ports import Appended

MODULE = "faults.system.failing_rooms_api"
PATH = "/failpoints"

Point = Literal["before insert", "after insert", "after publish", "before reply"]


async def die_at(node: Node, point: Point, room: str) -> None:
    """Make `node` kill itself when a message of `room` reaches `point`."""
    await _set(node, {"point": point, "room": room})


async def stop_publishing(node: Node, rooms: Sequence[str]) -> None:
    """Make `node` store the messages of `rooms` without publishing them; other rooms are not affected."""
    await _set(node, {"quiet": list(rooms)})


class Failpoints:
    """The failpoints that are set in this process."""

    def __init__(self) -> None:
        self._armed: tuple[str, str] | None = None
        self._quiet: frozenset[str] = frozenset()

    def install(self) -> None:
        """Patch the failpoints into the service."""
        append, publish, send_all = MongoMessages.append, RedisPublisher.publish, RedisPublisher._send
        create_app = app.create_app

        async def append_or_die(log: MongoMessages, room_id: RoomId, entries: Sequence[LogEntry]) -> Appended:
            self._reached("before insert", room_id)
            appended = await append(log, room_id, entries)
            self._reached("after insert", room_id)
            return appended

        def publish_or_not(publisher: RedisPublisher, channel: str, frame: Frame) -> None:
            if not (frame.kind.durable and room_of_channel(channel) in self._quiet):
                publish(publisher, channel, frame)

        async def send_and_die(publisher: RedisPublisher, batch: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
            left = await send_all(publisher, batch)
            for channel, data in batch[: len(batch) - len(left)]:
                if decode(data).kind.durable:
                    self._reached("after publish", room_of_channel(channel))
            return left

        _patch(MongoMessages, "append", append_or_die)
        _patch(RedisPublisher, "publish", publish_or_not)
        _patch(RedisPublisher, "_send", send_and_die)
        _patch(service, "create_app", lambda settings: _Edge(create_app(settings), self))

    def set(self, setting: dict[str, Any]) -> None:
        """Set a failpoint, see `die_at` and `stop_publishing`."""
        match setting:
            case {"point": str(point), "room": str(room)}:
                self._armed = (point, room)
            case {"quiet": list(rooms)}:
                self._quiet = frozenset(rooms)

    async def reply(self, path: str) -> None:
        """Die before the reply to a POST to `path` if `before reply` is set; never reply if `after publish` is set."""
        room = path.removeprefix("/api/v1/rooms/").removesuffix("/messages")
        self._reached("before reply", room)
        if self._armed == ("after publish", room):
            await asyncio.Event().wait()

    def _reached(self, point: Point, room: str | None) -> None:
        if self._armed == (point, room):
            os.kill(os.getpid(), signal.SIGKILL)


class _Edge:
    """Wraps the service: receives the settings of failpoints, and reaches the one before a reply."""

    def __init__(self, inner: Starlette, failpoints: Failpoints) -> None:
        self.state = inner.state
        """The service's own state, which `serve` reads."""
        self._inner = inner
        self._failpoints = failpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if path == PATH:
            self._failpoints.set(json.loads((await receive())["body"]))
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})
            return

        async def send_or_die(message: Message) -> None:
            if message["type"] == "http.response.start" and scope["method"] == "POST" and path.endswith("/messages"):
                await self._failpoints.reply(path)
            await send(message)

        await self._inner(scope, receive, send_or_die)


async def _set(node: Node, setting: dict[str, Any]) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=5.0) as http:
        (await http.post(f"http://{LOOPBACK}:{node.port}{PATH}", json=setting)).raise_for_status()


def _patch(owner: Any, name: str, function: Callable[..., Any]) -> None:
    assert hasattr(owner, name), f"{owner.__name__} has no {name}: the failpoints are out of date"
    setattr(owner, name, function)


def main() -> int:
    """Run the service with failpoints."""
    Failpoints().install()
    return service.main()


if __name__ == "__main__":
    sys.exit(main())
