"""The twin of `realtime_gateway.socketio.client_manager`: what was written to whom."""

import json
from collections.abc import Collection, Iterable
from typing import Any

Event = tuple[str, Any]
"""Name and payload; what is no event has no name, and is as it came."""


class FakeSockets:
    """`realtime_gateway.ports.Sockets`."""

    def __init__(self) -> None:
        self.chat: dict[str, list[Event]] = {}
        """What each client in `/chat` received, by sid."""
        self.lobby: dict[str, list[Event]] = {}
        """What each client in `/room` received, by sid."""

    def deliver(self, sids: Iterable[str], body: bytes) -> None:
        """See the port."""
        for sid in sids:
            if sid in self.chat:
                self.chat[sid].append(_event(body))

    def group(self) -> "FakeGroup":
        """See the port."""
        return FakeGroup(self)

    def deliver_to_lobby(self, body: bytes) -> None:
        """See the port."""
        for received in self.lobby.values():
            received.append(_event(body))


class FakeGroup:
    """`realtime_gateway.domain.hosted_room.Group`; writes at once."""

    def __init__(self, sockets: FakeSockets) -> None:
        self._sockets = sockets
        self._sids: dict[str, None] = {}

    def add(self, sid: str) -> None:
        """See the port."""
        self._sids[sid] = None

    def discard(self, sid: str) -> None:
        """See the port."""
        self._sids.pop(sid, None)

    def send(self, body: bytes, but: Collection[str] = ()) -> None:
        """See the port."""
        self._sockets.deliver([sid for sid in self._sids if sid not in but], body)


def _event(body: bytes) -> Event:
    try:
        event, payload = json.loads(body)
    except (ValueError, TypeError):
        return "", body
    return event, payload
