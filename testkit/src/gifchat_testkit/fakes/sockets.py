"""The fake of `gifchat_realtime_gateway.socketio.client_manager`, which keeps everything written to each client."""

import asyncio
import json
from collections.abc import Collection, Iterable
from typing import Any

Event = tuple[str, Any]
"""Name and payload of an event; other packets have no name and are kept unchanged."""


class FakeSockets:
    """`gifchat_realtime_gateway.ports.Sockets`."""

    def __init__(self, *, late: bool = False) -> None:
        """`late`: groups write as late as the port allows."""
        self._late = late
        self.chat: dict[str, list[Event]] = {}
        """Sid → what the client in `/chat` received."""
        self.lobby: dict[str, list[Event]] = {}
        """Sid → what the client in `/room` received."""

    def deliver(self, sids: Iterable[str], body: bytes) -> None:
        """See the port."""
        for sid in sids:
            if sid in self.chat:
                self.chat[sid].append(_event(body))

    def group(self) -> "FakeGroup":
        """See the port."""
        return FakeGroup(self, late=self._late)

    def deliver_to_lobby(self, body: bytes) -> None:
        """See the port."""
        for received in self.lobby.values():
            received.append(_event(body))


class FakeGroup:
    """`gifchat_realtime_gateway.domain.hosted_room.Group`."""

    def __init__(self, sockets: FakeSockets, *, late: bool) -> None:
        self._sockets = sockets
        self._late = late
        self._sids: dict[str, None] = {}
        self._unwritten: dict[str, list[bytes]] = {}

    def add(self, sid: str) -> None:
        """See the port."""
        if sid in self._sockets.chat:
            self._sids[sid] = None
            self._unwritten.pop(sid, None)

    def discard(self, sid: str) -> None:
        """See the port."""
        self._sids.pop(sid, None)
        self._unwritten.pop(sid, None)

    def send(self, body: bytes, exclude: Collection[str] = ()) -> None:
        """See the port."""
        sids = [sid for sid in self._sids if sid not in exclude]
        if not self._late:
            self._sockets.deliver(sids, body)
            return
        if sids and not self._unwritten:
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, loop.call_soon, self._write)
        for sid in sids:
            self._unwritten.setdefault(sid, []).append(body)

    def _write(self) -> None:
        unwritten, self._unwritten = self._unwritten, {}
        for sid, bodies in unwritten.items():
            for body in bodies:
                self._sockets.deliver([sid], body)


def _event(body: bytes) -> Event:
    try:
        event, payload = json.loads(body)
    except (ValueError, TypeError):
        return "", body
    return event, payload
