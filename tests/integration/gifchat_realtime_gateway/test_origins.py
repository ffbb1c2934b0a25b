"""The origin check of the plain WebSocket. Two `Origin` headers are refused, because browsers never send two."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from starlette.applications import Starlette
from starlette.types import Message

from gifchat_cli.servers.valkey import mark_as_new
from gifchat_realtime_gateway.http.websocket_demo import POLICY_VIOLATION, WebSocketDemo
from gifchat_testkit.raw_websocket import raw_websocket
from gifchat_testkit.services import Service, running_service

pytestmark = pytest.mark.servers

OURS = "https://chat.example"
OTHER_OF_OURS = "https://www.chat.example"
FOREIGN = "https://evil.example"
TWO = [(OURS, OURS), (OURS, OTHER_OF_OURS), (OURS, FOREIGN), (FOREIGN, OURS)]


@pytest.fixture(scope="module")
def gateway(valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    mark_as_new(valkey_url)
    settings = {"REDIS_URL": valkey_url, "ALLOWED_ORIGINS": f"{OURS},{OTHER_OF_OURS}"}
    with running_service("gifchat_realtime_gateway", tmp_path_factory.mktemp("gateway"), **settings) as service:
        yield service


@pytest.mark.parametrize("origin", [None, OURS, OTHER_OF_OURS])
async def test_an_allowed_or_missing_origin_may_connect(gateway: Service, origin: str | None) -> None:
    async with raw_websocket(gateway.port, "/ws", {"Origin": origin}) as answer:
        assert answer.status == 101


async def test_a_foreign_origin_is_refused(gateway: Service) -> None:
    async with raw_websocket(gateway.port, "/ws", {"Origin": FOREIGN}) as answer:
        assert answer.status == 403


@pytest.mark.parametrize(("first", "second"), TWO)
async def test_two_origins_are_refused(gateway: Service, first: str, second: str) -> None:
    # Header names ignore case, so these are two lines of one header. The WebSocket library already refuses them.
    async with raw_websocket(gateway.port, "/ws", {"Origin": first, "origin": second}) as answer:
        assert answer.status == 400


@pytest.mark.parametrize(("first", "second"), TWO)
async def test_two_origins_are_refused_without_the_library_too(first: str, second: str) -> None:
    demo = WebSocketDemo(
        "node", (OURS, OTHER_OF_OURS), lambda: datetime.now(UTC), draining=lambda: False, online=lambda: 0
    )
    headers = [(b"origin", first.encode()), (b"origin", second.encode())]
    scope = {"type": "websocket", "path": "/ws", "headers": headers, "query_string": b"", "subprotocols": []}
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await Starlette(routes=[demo.route()])(scope, receive, send)
    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", POLICY_VIOLATION)]
