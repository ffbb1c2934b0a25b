"""A request goes straight to the link only if uvicorn's parser reads it in the same way."""

import asyncio
from typing import Any, cast

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gifchat_realtime_gateway.engine.first_request import FirstRequest, is_plain_websocket_request
from gifchat_realtime_gateway.engine.handshake import parse_request

PLAIN = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: chat.example:8080\r\nUpgrade: websocket\r\n"
    b"Connection: upgrade\r\nX-Forwarded-For: 192.0.2.1\r\nCookie: a=b; c=d\r\nEmpty:\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Parsed:
    """A request as parsed by uvicorn's parser."""

    def __init__(self, data: bytes) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        parser = httptools.HttpRequestParser(self)
        with pytest.raises(httptools.HttpParserUpgrade) as upgrade:
            parser.feed_data(data)
        assert upgrade.value.args == (len(data),), "nothing follows the request"
        self.upgrade = HttpToolsProtocol._get_upgrade(cast("HttpToolsProtocol", self))
        self.method = parser.get_method().decode()
        self.version = parser.get_http_version()

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def joined(self) -> dict[str, str]:
        joined: dict[str, str] = {}
        for name, value in self.headers:
            key, text = name.decode("latin-1"), value.decode("latin-1").strip()
            separator = "; " if key == "cookie" else ","
            joined[key] = f"{joined[key]}{separator}{text}" if key in joined else text
        return joined


def check_read_alike(data: bytes) -> None:
    parsed, request = Parsed(data), parse_request(data)
    assert (parsed.method, parsed.version, parsed.body) == ("GET", "1.1", b"")
    target = httptools.parse_url(parsed.url)
    assert target.path in (b"/socket.io/", b"/internal/v1/engine.io/")
    assert request.path == target.path.decode()
    assert data.startswith(b"GET " + parsed.url + b" HTTP/1.1\r\n")
    assert request.headers == parsed.joined()
    assert parsed.upgrade == b"websocket"


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        PLAIN.replace(b"Upgrade: websocket", b"upgrade: WebSocket"),
        PLAIN.replace(b"Connection: upgrade", b"connection: Upgrade"),
        PLAIN.replace(b"Empty:", b"Cookie:   e=f   "),
        PLAIN.replace(b"EIO=4", b"EIO=4&sid=%2F%00?"),
        PLAIN.replace(b"/socket.io/", b"/internal/v1/engine.io/"),
    ],
)
def test_a_plain_websocket_request_goes_to_the_link(data: bytes) -> None:
    assert is_plain_websocket_request(data)
    check_read_alike(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET ",
        PLAIN[:-1],
        PLAIN[:60],
        PLAIN + b"\x81",
        PLAIN + PLAIN,
        PLAIN.replace(b"GET", b"POST"),
        PLAIN.replace(b"GET", b"get"),
        PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
        PLAIN.replace(b"/socket.io/?", b"/ws?"),
        PLAIN.replace(b"/socket.io/", b"http://chat.example/socket.io/"),
        PLAIN.replace(b"/socket.io/?", b"/socket.io/../admin?"),
        PLAIN.replace(b"EIO=4", b"EIO= 4"),
        PLAIN.replace(b"\r\n", b"\n"),
        PLAIN.replace(b"Empty:", b" folded"),
        PLAIN.replace(b"Empty:", b"Empty :"),
        PLAIN.replace(b"Empty:", b"Name:\x00"),
        PLAIN.replace(b"Empty:", b"Name: a\rb"),
        PLAIN.replace(b"Empty:", b"Name: \xc3\xa4"),
        PLAIN.replace(b"Empty:", b"Content-Length: 3"),
        PLAIN.replace(b"Empty:", b"Transfer-Encoding: chunked"),
        PLAIN.replace(b"Empty:", b"Expect: 100-continue"),
        PLAIN.replace(b"Connection: upgrade", b"Connection: keep-alive, upgrade"),
        PLAIN.replace(b"Connection: upgrade", b"Connection: close"),
        PLAIN.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
        PLAIN.replace(b"Empty:", b"Connection: close"),
        PLAIN.replace(b"Empty:", b"connection:"),
        PLAIN.replace(b"Empty:", b"Upgrade: h2c"),
        PLAIN.replace(b"Empty:", b"upgrade: websocket"),
    ],
)
def test_any_other_request_goes_to_uvicorn(data: bytes) -> None:
    assert not is_plain_websocket_request(data)


@given(
    st.lists(
        st.tuples(
            st.integers(0, len(PLAIN)),
            st.integers(0, 4),
            st.sampled_from(
                [b"", b"\r\n", b"\n", b"\r", b":", b" ", b"\t", b"a", b"?", b",", b"%", b"\x00", b"\xff", b"#"]
            ),
        ),
        max_size=3,
    )
)
def test_we_read_a_plain_request_like_uvicorns_parser(edits: list[tuple[int, int, bytes]]) -> None:
    data = PLAIN
    for at, gone, new in edits:
        data = data[:at] + new + data[at + gone :]
    if is_plain_websocket_request(data):
        check_read_alike(data)


@pytest.mark.parametrize(
    "end", [b"", b"\r\n\x81", b"Name: \xc3\xa4\r\n\r\n", b"Name: \x00\r\n\r\n", b" folded\r\n\r\n"]
)
@pytest.mark.parametrize("middle", [b"Name: value\r\n" * 5_000, b"Name:" + b" " * 60_000 + b"\r\n", b"a" * 60_000])
def test_refusing_a_long_request_takes_linear_time(middle: bytes, end: bytes) -> None:
    """A regular expression that backtracks would practically never finish."""
    assert not is_plain_websocket_request(PLAIN[:-2] + middle + end)


class Recorder(asyncio.Protocol):
    """Records its transport and the data that it receives."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.data: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data.append(data)


class Transport:
    def __init__(self) -> None:
        self.protocol: asyncio.BaseProtocol | None = None
        self.closed = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def close(self) -> None:
        self.closed = True


class World:
    def __init__(self) -> None:
        self.connections: set[Any] = set()
        self.link, self.http, self.transport = Recorder(), Recorder(), Transport()
        self.first = FirstRequest(self.connections, lambda: self.link, lambda: self.http)
        transport: Any = self.transport
        self.first.connection_made(transport)


@pytest.mark.parametrize(
    ("data", "to_the_link"), [(PLAIN, True), (PLAIN[:60], False), (b"GET / HTTP/1.1\r\n\r\n", False)]
)
def test_the_first_bytes_decide_which_protocol_gets_the_connection(data: bytes, to_the_link: bool) -> None:
    world = World()
    assert world.connections == {world.first}
    world.first.data_received(data)
    taker, other = (world.link, world.http) if to_the_link else (world.http, world.link)
    assert (taker.data, taker.transport, world.transport.protocol) == ([data], world.transport, taker)
    assert (other.data, other.transport) == ([], None)
    assert world.connections == set()


def test_a_connection_without_a_request_is_closed_when_uvicorn_stops() -> None:
    world = World()
    world.first.shutdown()
    assert world.transport.closed
    world.first.connection_lost(None)
    assert world.connections == set()
