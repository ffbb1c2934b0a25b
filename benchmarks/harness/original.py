"""Uses the tutorial's chat as its own pages do: session cookies, a room, and messages as JSON."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from benchmarks.harness.http_load import exchange, request
from benchmarks.harness.load import RunFailedError
from gifchat_contracts.ids import RoomId


@dataclass(frozen=True, slots=True)
class Original:
    """A running original with a room and some users."""

    room_id: RoomId
    cookies: Sequence[str]

    @classmethod
    async def opened(cls, port: int, users: int, rooms: int = 1) -> "Original":
        """Create a session for each user, and let the first user create the rooms; `room_id` is the last room's id."""
        line = await asyncio.open_connection("127.0.0.1", port)
        cookies = []
        for _ in range(users):
            answer = await exchange(line, request("GET", "/room", {}))
            cookies.append(answer.headers["set-cookie"].partition(";")[0])
        form = urlencode({"title": "A room", "max": 100_000}).encode()
        headers = {"cookie": cookies[0], "content-type": "application/x-www-form-urlencoded"}
        for _ in range(rooms):
            created = await exchange(line, request("POST", "/room", headers, form))
            if created.status != 302:
                raise RunFailedError(f"the original made no room: {created}")
        line[1].close()
        return cls(RoomId(created.headers["location"].removeprefix("/room/")), cookies)

    def post(self, number: int, text: str) -> bytes:
        """Return the request that posts a message."""
        headers = {"cookie": self.cookies[number % len(self.cookies)], "content-type": "application/json"}
        return request("POST", f"/room/{self.room_id}/chat", headers, json.dumps({"chat": text}).encode())
