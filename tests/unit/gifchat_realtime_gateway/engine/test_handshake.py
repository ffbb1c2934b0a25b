"""Which requests may open a connection: every refusal, origins, and client addresses behind proxies."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gifchat_realtime_gateway.engine.addresses import Addresses
from gifchat_realtime_gateway.engine.connection import Connection, State
from gifchat_realtime_gateway.engine.handshake import (
    Accepted,
    ErrorCode,
    Handshake,
    OtherNode,
    Refusal,
    parse_query,
    parse_request,
)
from gifchat_realtime_gateway.engine.intake import IntakeBounds
from gifchat_realtime_gateway.engine.options import EngineOptions

ORIGIN = "https://chat.example"
BARRED = "192.0.2.66"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


class Registry:
    def __init__(self) -> None:
        self.connections: dict[str, Connection] = {}
        self.crowded = False

    def find(self, sid: str) -> Connection | None:
        return self.connections.get(sid)

    def barred_s(self, environ: Mapping[str, Any]) -> float:
        return 1.2 if environ["REMOTE_ADDR"] == BARRED else 0.0

    def admits(self, environ: Mapping[str, Any]) -> bool:
        return not self.crowded

    def add(self, sid: str, environ: dict[str, Any], link: Any) -> Connection:
        intake = Addresses(IntakeBounds()).enter("192.0.2.1", guest=True)
        connection = self.connections[sid] = Connection(sid, self, environ, intake, link)
        return connection

    async def handle_message(self, connection: Connection, data: str | bytes) -> None:
        """Do nothing: these tests send no messages."""

    def pong_received(self, connection: Connection) -> None:
        """Do nothing."""

    def connection_closed(self, connection: Connection, reason: str) -> None:
        """Do nothing."""


class World:
    def __init__(self, trusted: str = "127.0.0.1, 10.0.0.0/8,::1") -> None:
        self.draining = False
        self.registry = Registry()
        self.handshake = Handshake(
            self.registry,
            EngineOptions(
                allowed_origins=[ORIGIN],
                trusted_proxies=trusted,
                ping_interval_s=25.0,
                ping_timeout_s=20.0,
                max_bytes=65_536,
                draining=lambda: self.draining,
            ),
        )

    def ask(
        self,
        query: str = "EIO=4&transport=websocket",
        headers: Mapping[str, str | None] | None = None,
        *,
        method: str = "GET",
        peer: tuple[str, int] | None = ("192.0.2.1", 5000),
    ) -> Refusal | Accepted | OtherNode:
        usual = {"host": "x", "sec-websocket-key": KEY, "sec-websocket-version": "13", "upgrade": "websocket"}
        lines = [f"{name}: {value}" for name, value in {**usual, **(headers or {})}.items() if value is not None]
        raw = "\r\n".join((f"{method} /socket.io/?{query} HTTP/1.1", *lines, "", "")).encode("latin-1")
        return self.handshake.decide(parse_request(raw), peer)


@pytest.fixture
def world() -> World:
    return World()


def accepted(decision: Refusal | Accepted | OtherNode) -> Accepted:
    assert isinstance(decision, Accepted)
    return decision


def refused(decision: Refusal | Accepted | OtherNode) -> Refusal:
    assert isinstance(decision, Refusal)
    return decision


# ---------------------------------------------------------------------------------------------------------- refusals


def test_a_client_that_overspent_a_moment_ago_is_told_when_to_come_back(world: World) -> None:
    refusal = refused(world.ask(peer=(BARRED, 5000)))
    assert refusal.status == 429
    assert b'"code":"rate_limited"' in refusal.response().replace(b'": "', b'":"')
    assert b"retry-after: 2\r\n" in refusal.response().lower()


def test_a_new_websocket_gets_the_101_and_its_open_packet(world: World) -> None:
    decision = accepted(world.ask())
    assert decision.upgrades is None
    head, _, frames = decision.response.partition(b"\r\n\r\n")
    status, *headers = head.decode().split("\r\n")
    assert status == "HTTP/1.1 101 Switching Protocols"
    assert "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in headers
    handshake = json.loads(frames[frames.index(b"0") + 1 :])
    assert handshake["upgrades"] == []
    connection = decision.open(_Link())
    assert connection.sid == handshake["sid"]
    assert connection.state is State.WEBSOCKET


class _Link:
    deflates = False

    def write(self, data: bytes) -> None: ...
    def write_remainder(self, data: bytes) -> None: ...
    def close(self, code: int, reason: str = "") -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def direct_fd(self) -> int:
        return -1


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("transport=websocket", ErrorCode.UNSUPPORTED_PROTOCOL),
        ("EIO=3&transport=websocket", ErrorCode.UNSUPPORTED_PROTOCOL),
        ("EIO=abc&transport=websocket", ErrorCode.UNSUPPORTED_PROTOCOL),
        ("EIO=&transport=websocket", ErrorCode.UNSUPPORTED_PROTOCOL),
        ("EIO=3&EIO=4&transport=websocket", ErrorCode.UNSUPPORTED_PROTOCOL),
        ("EIO=4", ErrorCode.TRANSPORT_UNKNOWN),
        ("EIO=4&transport=", ErrorCode.TRANSPORT_UNKNOWN),
        ("EIO=4&transport=polling", ErrorCode.TRANSPORT_UNKNOWN),
        ("EIO=4&transport=abc", ErrorCode.TRANSPORT_UNKNOWN),
        ("EIO=4&transport=websocket&sid=unknown", ErrorCode.SESSION_UNKNOWN),
        ("EIO=4&transport=websocket&sid=", ErrorCode.SESSION_UNKNOWN),
    ],
)
def test_a_wrong_query_is_refused(world: World, query: str, code: ErrorCode) -> None:
    refusal = refused(world.ask(query))
    assert (refusal.status, json.loads(refusal.body)["code"]) == (400, code.value[0])
    assert world.registry.connections == {}


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-websocket-key": None},
        {"sec-websocket-key": ""},
        {"sec-websocket-key": "c2hvcnQ="},
        {"sec-websocket-key": "???"},
        {"sec-websocket-key": "\u00e9"},
        {"sec-websocket-key": f"{KEY},{KEY}"},
        {"host": None},
    ],
)
def test_an_invalid_websocket_handshake_is_refused(world: World, headers: dict[str, str | None]) -> None:
    assert refused(world.ask(headers=headers)).status == 400


@pytest.mark.parametrize("version", [None, "", "8", "12", "014", "13,8"])
def test_another_websocket_version_is_refused_with_the_supported_one(world: World, version: str | None) -> None:
    refusal = refused(world.ask(headers={"sec-websocket-version": version}))
    assert refusal.status == 426
    assert b"\r\nsec-websocket-version: 13\r\n" in refusal.response()


@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD", "DELETE"])
def test_a_websocket_request_must_be_a_get(world: World, method: str) -> None:
    assert refused(world.ask(method=method)).status == 400


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "https://evil.example",
        "http://chat.example",
        "https://chat.example.evil",
        "https://chat.example:443",
        "https://chat.example/",
        "https://CHAT.example",
        f"{ORIGIN},{ORIGIN}",
        "*",
    ],
)
def test_foreign_origins_are_refused(world: World, origin: str) -> None:
    refusal = refused(world.ask(headers={"origin": origin}))
    assert refusal.status == 403
    assert refusal.response().startswith(b"HTTP/1.1 403 Forbidden\r\n")


def test_our_origin_and_no_origin_may_connect(world: World) -> None:
    accepted(world.ask(headers={"origin": ORIGIN}))
    accepted(world.ask(headers={"origin": None}))


def test_two_origin_headers_are_a_foreign_origin() -> None:
    raw = f"GET / HTTP/1.1\r\norigin: {ORIGIN}\r\norigin: https://evil.example\r\n\r\n".encode()
    assert not World().handshake.origin_allowed([parse_request(raw).headers["origin"]])


def test_a_draining_node_refuses_only_new_connections(world: World) -> None:
    polling = world.registry.add("known", {}, None)
    world.draining = True
    refusal = refused(world.ask())
    assert refusal.status == 503
    response = refusal.response()
    assert response.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nretry-after: 1\r\n" in response
    assert b"\r\nconnection: close\r\n" in response
    assert accepted(world.ask("EIO=4&transport=websocket&sid=known")).upgrades is polling


def test_an_upgrade_continues_its_connection_without_an_open_packet(world: World) -> None:
    polling = world.registry.add("known", {}, None)
    decision = accepted(world.ask("EIO=4&transport=websocket&sid=known"))
    assert decision.upgrades is polling
    assert decision.response.endswith(b"\r\n\r\n")
    assert decision.open(_Link()) is polling


def test_a_second_websocket_for_an_upgraded_connection_is_accepted(world: World) -> None:
    polling = world.registry.add("known", {}, None)
    query = "EIO=4&transport=websocket&sid=known"
    polling.start_probe()
    assert accepted(world.ask(query)).upgrades is polling
    polling.probe_answered()
    polling.upgrade(_Link())
    assert accepted(world.ask(query)).upgrades is polling


def test_a_refusal_becomes_a_whole_http_response() -> None:
    head, _, body = Refusal.of(ErrorCode.SESSION_UNKNOWN).response().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert f"content-length: {len(body)}".encode() in head
    assert json.loads(body) == {"code": 1, "message": "Session ID unknown"}


# --------------------------------------------------------------------------------------------------------- addresses


def test_handlers_get_the_address_the_query_and_some_headers(world: World) -> None:
    headers = {"x-forwarded-for": "198.51.100.7", "cookie": "a=b", "accept-language": "ko", "x-other": "no"}
    decision = accepted(world.ask(headers=headers, peer=("10.0.0.1", 1)))
    assert decision.open(_Link()).environ == {
        "REMOTE_ADDR": "198.51.100.7",
        "HTTP_ACCEPT_LANGUAGE": "ko",
        "QUERY_STRING": "EIO=4&transport=websocket",
    }
    environ = accepted(world.ask("EIO=4&transport=websocket&a=%26b", peer=None)).open(_Link()).environ
    assert environ == {"REMOTE_ADDR": "unknown", "QUERY_STRING": "EIO=4&transport=websocket&a=%26b"}


# ------------------------------------------------------------------------------------------------------------- parts


@pytest.mark.parametrize(
    ("target", "served"),
    [
        ("/socket.io/?EIO=4", True),
        ("/socket.io", True),
        ("/socket%2eio/", True),
        ("/ws", False),
        ("/socket.io/x", True),
        ("/socket.io/x/y?EIO=4", True),
        ("/socket.iox", False),
        ("/x/socket.io/", False),
        ("/", False),
    ],
)
def test_the_engine_serves_its_path_and_every_path_below_it(world: World, target: str, served: bool) -> None:
    request = parse_request(f"GET {target} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    assert world.handshake.serves(request) is served


def test_a_request_is_parsed() -> None:
    raw = b"GET /socket.io/?a=1&b=&a=2&c=%C3%A9 HTTP/1.1\r\nhost: x:1\r\nx-a: 1\r\nX-A:  2 \r\n\r\n"
    request = parse_request(raw)
    assert (request.raw, request.method, request.path) == (raw, "GET", "/socket.io/")
    assert request.query == {"a": "1", "b": "", "c": "é"}
    assert request.headers == {"host": "x:1", "x-a": "1,2"}


@given(st.text())
def test_parsing_a_query_never_raises(query: str) -> None:
    parse_query(query)
