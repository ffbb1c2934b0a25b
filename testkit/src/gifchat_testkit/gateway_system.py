"""A real rooms-api, gateways beside it, and visitors that use both."""

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from gifchat_cli.servers.valkey import mark_as_new
from gifchat_contracts.identity import SESSION_COOKIE, Identity
from gifchat_contracts.ids import RoomId
from gifchat_testkit import tokens
from gifchat_testkit.crowds import ROOMS_API_FOR_ONE_ADDRESS
from gifchat_testkit.services import Service, running_service

ORIGIN = "https://chat.example"
DEADLINE_S = 10.0


@dataclass(frozen=True)
class System:
    """A running rooms-api, and the settings to start gateways beside it."""

    rooms_api: Service
    work_dir: Path
    environment: dict[str, str]

    @contextlib.contextmanager
    def gateway(self, name: str, **environment: str) -> Iterator[Service]:
        """Run a gateway until the block ends."""
        with running_service(
            "gifchat_realtime_gateway", self.work_dir, NODE_NAME=name, **(self.environment | environment)
        ) as service:
            yield service


@contextlib.contextmanager
def running_system(mongo_url: str, valkey_url: str, work_dir: Path) -> Iterator[System]:
    """Run a rooms-api on its own database until the block ends."""
    mark_as_new(valkey_url)
    database = f"test_{secrets.token_hex(6)}"
    servers = {"MONGO_URL": mongo_url, "MONGO_DATABASE": database, "REDIS_URL": valkey_url}
    with running_service("gifchat_rooms_api", work_dir, **servers, **ROOMS_API_FOR_ONE_ADDRESS) as rooms_api:
        environment = {
            "ROOMS_API_URL": rooms_api.url,
            "REDIS_URL": valkey_url,
            "ALLOWED_ORIGINS": ORIGIN,
            "LOG_LEVEL": "debug",
        }
        yield System(rooms_api, work_dir, environment)


class Visitor:
    """A user with a session cookie, like a browser."""

    def __init__(self, system: System) -> None:
        self.session_id = secrets.token_hex(16)
        self.who = Identity.of_session(self.session_id)
        self.cookie = f"{SESSION_COOKIE}={tokens.session_cookie(self.session_id)}"
        self._url = f"{system.rooms_api.url}/api/v1/rooms"

    async def create_room(self, **wanted: Any) -> RoomId:
        """Create a room; this visitor owns it."""
        return RoomId((await self.ask("POST", "", json={"title": "a room"} | wanted))["_id"])

    async def ask(self, method: str, path: str, **how: Any) -> Any:
        """Send a request below `/api/v1/rooms`; returns the JSON of the answer, None if it has no body.

        Raises:
            httpx.HTTPStatusError: it was refused.
        """
        async with httpx.AsyncClient(headers={"Cookie": self.cookie}, timeout=DEADLINE_S) as client:
            answer = await client.request(method, self._url + path, **how)
        answer.raise_for_status()
        return answer.json() if answer.content else None
