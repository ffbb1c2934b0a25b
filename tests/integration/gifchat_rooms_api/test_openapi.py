"""Checks the running service against its OpenAPI document over a real socket: no 500, no undocumented answer.

Every case has its own session and, if its room id is valid, its own room, so that requests pass authentication. The
cases are the same in every run.
"""

import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from pymongo import MongoClient
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gifchat_cli.ports import free_port
from gifchat_contracts import identity
from gifchat_contracts.ids import is_room_id
from gifchat_rooms_api.app import create_app
from gifchat_rooms_api.settings import Settings
from gifchat_testkit.pictures import FORMATS, picture

from .conftest import signed

pytestmark = pytest.mark.servers

EXAMPLES = 25
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
WELCOME = {200, 201, 204, 206}
PICTURES = [picture(extension) for extension in FORMATS]

schemathesis.openapi.format("binary", st.one_of(st.binary(max_size=64), st.sampled_from(PICTURES)))
schema = schemathesis.openapi.from_dict(create_app(Settings()).openapi())


class Service:
    """A running service, and its answers so far."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.statuses: dict[str, set[int]] = {}
        self._http = httpx.Client(base_url=url)
        self._sessions = 0

    def new_session(self) -> str:
        self._sessions += 1
        return signed(identity.SESSION_SALT, f"session {self._sessions}")

    def new_room(self, session: str) -> str:
        return str(self._post(session, "/rooms", json={"title": "a room"})["_id"])

    def new_message(self, session: str, room_id: str) -> int:
        message = {"client_message_id": "k", "text": "hi"}
        return int(self._post(session, f"/rooms/{room_id}/messages", json=message)["seq"])

    def new_file(self) -> str:
        """Return the room and the name of a new GIF: `<room>/<name>`."""
        session = self.new_session()
        return str(self._post(session, f"/rooms/{self.new_room(session)}/gifs", files={"gif": PICTURES[0]})["file"])

    def _post(self, session: str, path: str, **options: Any) -> dict[str, Any]:
        cookies = {"cookie": f"{identity.SESSION_COOKIE}={session}"}
        answer = self._http.post(f"/api/v1{path}", headers=cookies, **options)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture(scope="module")
def service(mongo_url: str, valkey_url: str) -> Iterator[Service]:
    database = f"test_{secrets.token_hex(6)}"
    servers: dict[str, Any] = {"mongo_url": mongo_url, "mongo_database": database, "redis_url": valkey_url}
    generous: dict[str, Any] = {
        "room_changes_per_address": 100_000,
        "rooms_per_user": 100_000,
        "rooms_per_address": 100_000,
    }
    app = create_app(Settings(**servers, **generous))
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    service = Service(f"http://127.0.0.1:{port}")
    try:
        deadline = time.monotonic() + 10
        while not ready(service.url):
            assert time.monotonic() < deadline, "the service did not become ready"
            time.sleep(0.02)
        yield service
    finally:
        server.should_exit = True
        thread.join()
        with MongoClient[dict[str, Any]](mongo_url) as client:
            client.drop_database(database)


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_documented(case: Case[Any], service: Service) -> None:
    session, path = service.new_session(), case.path_parameters
    if is_room_id(path.get("room_id")):
        path["room_id"] = service.new_room(session)
        if isinstance(seq := path.get("seq"), int) and seq % 2:
            path["seq"] = service.new_message(session, path["room_id"])
    if len(path.get("file", "")) % 2:
        path["room_id"], _, path["file"] = service.new_file().partition("/")
    response = case.call(base_url=service.url, cookies={identity.SESSION_COOKIE: session})
    service.statuses.setdefault(case.operation.label, set()).add(response.status_code)
    case.validate_response(response, checks=CHECKS)


def test_every_operation_was_reached(service: Service) -> None:
    """Every operation was called and succeeded at least once."""
    assert len(service.statuses) == len(list(schema.get_all_operations()))
    assert [label for label, statuses in service.statuses.items() if not statuses & WELCOME] == []
