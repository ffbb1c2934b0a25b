"""A real nginx, configured with our template, routes, limits and caches requests to upstreams that echo them."""

import http.client
import json
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import pytest

from gifchat_chassis.client_address import network_of
from gifchat_cli.blueprint import NGINX_TEMPLATE
from gifchat_cli.ports import free_port
from gifchat_cli.prerequisites import find_nginx
from gifchat_cli.servers.nginx import Nginx, Upstreams, render
from gifchat_cli.servers.readiness import NotReadyError, get_health
from gifchat_realtime_gateway.engine.sid import new_sid, node_tag
from gifchat_testkit.servers import running
from gifchat_testkit.waiting import block_until

ROOMS = [f"{number:024x}" for number in range(40)]
PASSWORD = "a-password-in-a-link"
EVERYTHING = "GET, HEAD, POST, PUT, PATCH, DELETE"


LARGE_BYTES = 40_000_000
"""More than all socket buffers on the way can hold."""
GIF_ETAG = '"the GIF"'
FRESH_FOR_AN_HOUR = "public, max-age=0, s-maxage=3600, must-revalidate"
FRESH_FOR_A_SECOND = "public, max-age=0, s-maxage=1, must-revalidate"

TAGS = {name: node_tag(name) for name in ("gateway-1", "gateway-2")}


class Echo(BaseHTTPRequestHandler):
    """Answers with its own name and the request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        assert isinstance(self.server, NamedServer)
        if self.headers["X-Refuse"]:
            self.refuse_without_reading()
            return
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked += 1
        if self.path.startswith("/gif/"):
            self.serve_gif(self.server)
            return
        if self.path == "/api/v1/large":
            self.send_response(200)
            self.send_header("Content-Length", str(LARGE_BYTES))
            self.end_headers()
            self.wfile.write(bytes(LARGE_BYTES))
            self.server.sent_large.set()
            return
        body = json.dumps({"name": self.server.name, "path": self.path, "headers": dict(self.headers)}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.server.name.startswith("gateway-"):
            self.send_header("X-Engine-IO-Node", TAGS[self.server.name])
        self.end_headers()
        self.wfile.write(body)

    def refuse_without_reading(self) -> None:
        """Answer 401 before the body is there, as rooms-api does without a session.

        Like uvicorn, do not close the connection: with unread bytes, the kernel would reset it, and the answer could be
        lost. nginx closes it.
        """
        self.close_connection = True
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()
        with suppress(ConnectionError):
            while self.rfile.read1(65_536):
                pass

    def serve_gif(self, server: "NamedServer") -> None:
        """Serve a GIF as rooms-api does, or close the connection without an answer."""
        if server.gifs == "down":
            self.close_connection = True
            return
        status = 404 if server.gifs == "deleted" else 304 if self.headers["If-None-Match"] == GIF_ETAG else 200
        body = b"a GIF" if status == 200 else b""
        server.gif_answers.append(status)
        self.send_response(status)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store" if status == 404 else server.gif_cache_control)
        self.send_header("X-Content-Type-Options", "nosniff")
        if status != 404:
            self.send_header("ETag", GIF_ETAG)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing."""


class NamedServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # the default of 5 is too few for clients that all come at once

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), Echo)
        self.name = name
        self.asked = 0
        self.sent_large = threading.Event()
        self.gifs: Literal["served", "deleted", "down"] = "served"
        self.gif_cache_control = FRESH_FOR_AN_HOUR
        self.gif_answers: list[int] = []


@contextmanager
def serving(name: str) -> Iterator[NamedServer]:
    with NamedServer(name) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@dataclass(frozen=True)
class FrontDoor:
    nginx: Nginx
    servers: dict[str, NamedServer]
    work_dir: Path

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        internal: bool = False,
    ) -> tuple[http.client.HTTPResponse, bytes]:
        port = self.nginx.internal_port if internal else self.nginx.port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def echo(self, path: str, **more: Any) -> dict[str, Any]:
        response, body = self.ask(path, **more)
        assert response.status == 200, (path, response.status, body)
        answer: dict[str, Any] = json.loads(body)
        return answer

    def error_log(self) -> str:
        return (self.work_dir / "nginx.log").read_text()


def wait_until_ready(nginx: Nginx) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            get_health(nginx.internal_port, "/health/live")
        except NotReadyError:
            if time.monotonic() > deadline:
                raise
        else:
            return


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontDoor]:
    work_dir = tmp_path_factory.mktemp("nginx")
    nginx = Nginx(
        binary=find_nginx(),
        template=NGINX_TEMPLATE,
        port=free_port(),
        internal_port=free_port(),
        work_dir=work_dir,
        access_log=work_dir / "access.log",
        max_files=1_024,
        ipv6=False,
    )
    with ExitStack() as stack:
        names = ["gateway-1", "gateway-2", "rooms-api-1", "rooms-api-2"]
        servers = {name: stack.enter_context(serving(name)) for name in names}
        ports = {name: server.server_port for name, server in servers.items()}
        nginx.write_config(
            Upstreams(
                gateways=[ports["gateway-1"], ports["gateway-2"]],
                rooms_api=[ports["rooms-api-1"], ports["rooms-api-2"]],
                web=[web_that_is_down := free_port()],
            )
        )
        assert web_that_is_down not in ports.values()

        stack.enter_context(running("nginx", nginx.command(), work_dir, partial(wait_until_ready, nginx)))
        yield FrontDoor(nginx, servers, work_dir)


def test_each_room_has_one_replica_and_rooms_are_spread(door: FrontDoor) -> None:
    replica_of = {room: door.echo(f"/api/v1/rooms/{room}/messages")["name"] for room in ROOMS}
    assert set(replica_of.values()) == {"rooms-api-1", "rooms-api-2"}
    for room, replica in replica_of.items():
        assert door.echo(f"/api/v1/rooms/{room}?x=1")["name"] == replica
        assert door.echo(f"/internal/v1/rooms/{room}/log", internal=True)["name"] == replica


def test_requests_without_a_room_go_to_any_replica(door: FrontDoor) -> None:
    assert {door.echo("/api/v1/rooms")["name"] for _ in range(40)} == {"rooms-api-1", "rooms-api-2"}


def test_internal_paths_cannot_be_reached_from_outside(door: FrontDoor) -> None:
    for path in (
        "/internal/v1/heads",
        "/internal/v1/engine.io/",
        "//internal/v1/heads",
        "/%69nternal/v1/heads",
        "/api/../internal/v1/heads",
    ):
        assert door.ask(path)[0].status == 404, path
    assert door.ask("/metrics")[0].status == 404
    assert door.echo("/internal/v1/heads", internal=True)["path"] == "/internal/v1/heads"


def test_a_client_cannot_forge_its_address(door: FrontDoor) -> None:
    forged = {"X-Forwarded-For": "1.1.1.1, 2.2.2.2", "X-Real-IP": "3.3.3.3", "Forwarded": "for=4.4.4.4"}
    for path in ("/api/v1/rooms", "/socket.io/?EIO=4"):
        headers = {name.lower(): value for name, value in door.echo(path, headers=forged)["headers"].items()}
        assert headers["x-forwarded-for"] == "127.0.0.1"
        assert not {"x-real-ip", "forwarded", "x-forwarded-host"} & headers.keys()


def test_a_service_passes_on_the_address_of_its_client(door: FrontDoor) -> None:
    answer = door.echo("/api/v1/rooms", headers={"X-Forwarded-For": "203.0.113.9"}, internal=True)
    assert answer["headers"]["X-Forwarded-For"] == "203.0.113.9"


def test_engine_io_works_with_and_without_a_trailing_slash(door: FrontDoor) -> None:
    for path in ("/socket.io", "/socket.io/", "/socket.io/socket.io.js"):
        answer = door.echo(f"{path}?EIO=4&transport=polling")
        assert answer["name"].startswith("gateway-")
        assert answer["path"] == f"{path}?EIO=4&transport=polling"
        upgraded = door.echo(path, headers={"Connection": "Upgrade", "Upgrade": "websocket"})["headers"]
        assert upgraded["Upgrade"] == "websocket"
    for path in ("/socket.iox", "/socket.io.js", "/xsocket.io"):
        assert door.ask(path)[0].status == 502, "nginx asks web, which is down in this test"


POLLING = "/socket.io/?EIO=4&transport=polling"


def test_nginx_routes_a_sid_to_its_gateway(door: FrontDoor) -> None:
    known = {door.echo(POLLING)["name"] for _ in range(10)}
    assert known == {"gateway-1", "gateway-2"}, "nginx uses both and learns their tags"
    for name, tag in TAGS.items():
        assert {door.echo(f"{POLLING}&sid={new_sid(tag)}")["name"] for _ in range(10)} == {name}
    for unknown in (new_sid("unknown-"), "x", "../..", "%00"):
        assert {door.echo(f"{POLLING}&sid={unknown}")["name"] for _ in range(10)} == {"gateway-1", "gateway-2"}


def test_the_affinity_cookie_holds_only_the_gateways_tag(door: FrontDoor) -> None:
    response, body = door.ask(POLLING)
    name = json.loads(body)["name"]
    assert response.headers.get_all("Set-Cookie") == [f"gifchat_gateway={TAGS[name]}; Path=/; HttpOnly; SameSite=Lax"]
    assert response.headers["X-Engine-IO-Node"] is None
    same = {"Cookie": f"gifchat_gateway={TAGS[name]}"}
    assert {door.echo(POLLING, headers=same)["name"] for _ in range(10)} == {name}


@pytest.mark.parametrize(("asked", "passed_on"), [("websocket", "websocket"), ("h2c", None)])
def test_only_a_websocket_upgrade_is_passed_on(door: FrontDoor, asked: str, passed_on: str | None) -> None:
    headers = door.echo("/ws", headers={"Connection": "Upgrade", "Upgrade": asked})["headers"]
    assert headers.get("Upgrade") == passed_on


def test_the_json_of_the_api_is_not_compressed(door: FrontDoor) -> None:
    response, _body = door.ask("/api/v1/rooms", headers={"Accept-Encoding": "gzip", "X-Padding": "x" * 2_000})
    assert response.status == 200
    assert response.getheader("Content-Encoding") is None


@dataclass
class GifSource:
    """What the replicas of rooms-api answer for GIFs, and how they were asked."""

    door: FrontDoor
    path: str

    @property
    def _replicas(self) -> list[NamedServer]:
        return [server for name, server in self.door.servers.items() if name.startswith("rooms-api-")]

    def are(self, state: Literal["served", "deleted", "down"], cache_control: str = FRESH_FOR_A_SECOND) -> None:
        for server in self._replicas:
            server.gifs, server.gif_cache_control = state, cache_control

    @property
    def answers(self) -> list[int]:
        return [status for server in self._replicas for status in server.gif_answers]

    def get(self, **headers: str) -> tuple[int, bytes]:
        response, body = self.door.ask(self.path, headers=headers)
        return response.status, body

    def wait_for(self, status: int) -> None:
        """Ask until the answer has this status."""
        block_until(lambda: self.get()[0] == status, f"{self.path} answers {status}", timeout_s=15.0)


@pytest.fixture
def gif(door: FrontDoor) -> Iterator[GifSource]:
    source = GifSource(door, f"/gif/{ROOMS[0]}/{secrets.token_hex(32)}.gif")
    source.are("served")
    yield source
    source.are("served", FRESH_FOR_AN_HOUR)
    for server in source._replicas:
        server.gif_answers.clear()


def test_gifs_are_cached_as_long_as_the_service_says(door: FrontDoor, gif: GifSource) -> None:
    gif.are("served", FRESH_FOR_AN_HOUR)
    for path in (gif.path, gif.path, f"{gif.path}?anything"):
        response, body = door.ask(path)
        assert (response.status, body) == (200, b"a GIF")
    assert gif.answers == [200]
    assert response.headers.get_all("X-Content-Type-Options") == ["nosniff"]
    assert response.headers["Cache-Control"] == FRESH_FOR_AN_HOUR
    assert gif.get(Range="bytes=0-2") == (206, b"a G")
    assert gif.get(**{"If-None-Match": GIF_ETAG}) == (304, b"")
    assert gif.answers == [200], "nginx answers ranges and conditional requests itself"


def test_nginx_revalidates_a_gif_without_fetching_it_again(gif: GifSource) -> None:
    assert gif.get() == (200, b"a GIF")
    block_until(lambda: gif.get() == (200, b"a GIF") and 304 in gif.answers, "nginx revalidates", timeout_s=15.0)
    assert gif.answers.count(200) == 1


def test_a_deleted_gif_is_gone_from_the_cache(gif: GifSource) -> None:
    assert gif.get() == (200, b"a GIF")
    gif.are("deleted")
    gif.wait_for(404)
    assert gif.get(Range="bytes=0-2")[0] == 404
    assert gif.get(**{"If-None-Match": GIF_ETAG})[0] == 404


def test_the_cache_never_serves_a_stale_gif_while_rooms_api_is_down(gif: GifSource) -> None:
    assert gif.get() == (200, b"a GIF")
    gif.are("down")
    gif.wait_for(503)
    assert gif.get(Range="bytes=0-2")[0] == 503
    gif.are("deleted")
    gif.wait_for(404)


def test_an_answer_that_must_not_be_stored_is_not_cached(gif: GifSource) -> None:
    gif.are("served", "private, no-store")
    assert [gif.get(), gif.get()] == [(200, b"a GIF")] * 2
    assert gif.answers == [200, 200]


def test_addresses_of_older_releases_are_not_cached(door: FrontDoor, gif: GifSource) -> None:
    gif.are("served", FRESH_FOR_AN_HOUR)
    for _ in range(2):
        assert door.ask(f"/gif/{'a' * 64}.gif")[0].status == 200
    assert gif.answers == [200, 200]


def test_bodies_are_limited_and_the_limit_for_gifs_is_larger(door: FrontDoor) -> None:
    post: dict[str, Any] = {"method": "POST", "body": b"x" * 100_000}
    response, body = door.ask("/api/v1/rooms", **post)
    assert (response.status, json.loads(body)["code"]) == (413, "payload_too_large")
    assert door.echo(f"/api/v1/rooms/{ROOMS[0]}/gifs", **post)["path"] == f"/api/v1/rooms/{ROOMS[0]}/gifs"
    response, body = door.ask(f"/api/v1/rooms/{ROOMS[0]}/gifs", method="POST", body=b"x" * 11_000_000)
    assert (response.status, json.loads(body)["code"]) == (413, "gif_too_large")


def half_sent_upload(door: FrontDoor, path: str, *headers: str) -> socket.socket:
    """Send the headers and a part of an upload."""
    connection = socket.create_connection(("127.0.0.1", door.nginx.port), timeout=10)
    head = [f"POST {path} HTTP/1.1", "Host: chat.example", "Content-Length: 10000000", *headers]
    connection.sendall("\r\n".join([*head, "", ""]).encode() + bytes(100_000))
    return connection


def test_an_upload_is_refused_before_its_body_has_arrived(door: FrontDoor) -> None:
    path = f"/api/v1/rooms/{ROOMS[0]}/gifs"
    with ExitStack() as stack:
        halves = [stack.enter_context(half_sent_upload(door, path, "X-Refuse: yes")) for _ in range(20)]
        for half in halves:
            assert half.recv(1_000).startswith(b"HTTP/1.1 401 ")
        assert door.echo(path, method="POST", body=b"x" * 100_000)["path"] == path
    assert "temporary file" not in door.error_log()


def test_other_bodies_are_kept_in_memory(door: FrontDoor) -> None:
    assert door.echo("/api/v1/rooms", method="POST", body=b"x" * 65_000)["path"] == "/api/v1/rooms"
    assert "temporary file" not in door.error_log()


def test_uploads_are_bounded_for_each_address_and_other_requests_are_not(door: FrontDoor) -> None:
    path = f"/api/v1/rooms/{ROOMS[0]}/gifs"
    bound = int(door.nginx.values(Upstreams([1], [1], [1]))["UPLOADS_BURST"])
    answers = [door.ask(path, method="POST", body=b"x") for _ in range(3 * bound)]
    assert {response.status for response, _ in answers[:bound]} == {200}
    refused, body = next(answer for answer in answers if answer[0].status != 200)
    assert (refused.status, refused.headers["Retry-After"], json.loads(body)["code"]) == (429, "1", "rate_limited")
    assert door.echo(f"/api/v1/rooms/{ROOMS[0]}/messages")["name"].startswith("rooms-api")


def test_chunked_bodies_are_bounded_because_they_may_need_a_file(door: FrontDoor) -> None:
    head = b"POST /api/v1/rooms HTTP/1.1\r\nHost: chat.example\r\nTransfer-Encoding: chunked\r\n\r\n"
    bound = int(door.nginx.values(Upstreams([1], [1], [1]))["CHUNKED_BODIES"])

    def chunked_status() -> int:
        return door.ask("/api/v1/rooms", method="POST", headers={"Transfer-Encoding": "chunked"}, body=b"0\r\n\r\n")[
            0
        ].status

    assert chunked_status() == 200
    with ExitStack() as stack:
        for _ in range(bound):
            half = stack.enter_context(socket.create_connection(("127.0.0.1", door.nginx.port), timeout=10))
            half.sendall(head + b"1\r\nx\r\n")
        block_until(lambda: chunked_status() == 429, "nginx refuses further chunked bodies")
        assert door.ask("/api/v1/rooms", method="POST", body=b"x")[0].status == 200
    block_until(lambda: chunked_status() == 200, "nginx accepts chunked bodies again")


def test_a_response_for_a_slow_reader_is_not_written_to_a_file(door: FrontDoor) -> None:
    server = door.servers["rooms-api-1"], door.servers["rooms-api-2"]
    with socket.create_connection(("127.0.0.1", door.nginx.port), timeout=10) as slow:
        slow.sendall(b"GET /api/v1/large HTTP/1.1\r\nHost: chat.example\r\nConnection: close\r\n\r\n")
        assert slow.recv(100).startswith(b"HTTP/1.1 200 ")
        assert not any(each.sent_large.wait(0.25) for each in server), "nginx reads no faster than the client"
        while slow.recv(1_000_000):
            pass
    assert "temporary file" not in door.error_log()


def test_missing_security_headers_are_added(door: FrontDoor) -> None:
    response, _ = door.ask("/api/v1/rooms")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "strict-origin"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert response.headers["Server"] == "nginx"


def test_the_password_in_a_link_is_never_logged(door: FrontDoor) -> None:
    path = f"/room/{ROOMS[0]}?password={PASSWORD}"
    assert door.ask(path)[0].status == 502
    assert door.ask(f"/room/{ROOMS[0]}/gif?password={PASSWORD}", method="POST", body=b"x" * 11_000_000)[0].status == 413
    door.ask("/api/v1/rooms", headers={"Referer": f"http://localhost{path}"})
    access_log = (door.work_dir / "access.log").read_text()
    assert f'"GET /room/{ROOMS[0]} HTTP/1.1" 502' in access_log
    assert PASSWORD not in access_log
    assert PASSWORD not in door.error_log()


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("TRACE", "/", EVERYTHING),
        ("TRACE", "/api/v1/rooms", EVERYTHING),
        ("TRACE", "/gif/x.gif", EVERYTHING),
        ("TRACE", "/socket.io/?EIO=4", "GET, POST, OPTIONS"),
        ("TRACE", "/health/live", "GET, HEAD"),
        ("CONNECT", "chat.example:443", EVERYTHING),
        *((method, "/health/live", "GET, HEAD") for method in ("POST", "PUT", "DELETE", "OPTIONS")),
    ],
)
def test_a_method_that_nginx_refuses_gets_a_problem_and_the_allowed_methods(
    door: FrontDoor, method: str, path: str, allow: str
) -> None:
    response, body = door.ask(path, method=method)
    assert (response.status, response.headers.get_all("Allow")) == (405, [allow])
    assert response.headers["Content-Type"] == "application/problem+json"
    assert json.loads(body)["code"] == "method_not_allowed"
    response, _ = door.ask(path, method=method, internal=True)
    assert (response.status, response.headers.get_all("Allow")) == (405, [allow])


def test_nginx_answers_head_itself(door: FrontDoor) -> None:
    for internal in (False, True):
        response, body = door.ask("/health/live", method="HEAD", internal=internal)
        assert (response.status, response.headers["Content-Length"], body) == (200, "3", b"")


def test_nginx_errors_have_the_security_headers(door: FrontDoor) -> None:
    for method, path, status in (("TRACE", "/api/v1/rooms", 405), ("GET", "/api/v1/session", 503)):
        response, _ = door.ask(path, method=method)
        assert response.status == status
        assert response.headers.get_all("X-Content-Type-Options") == ["nosniff"]
        assert response.headers.get_all("X-Frame-Options") == ["DENY"]


def test_a_service_that_is_down_yields_a_retryable_problem(door: FrontDoor) -> None:
    response, body = door.ask("/api/v1/session")
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert json.loads(body)["code"] == "unavailable"
    assert json.loads(body)["retry"] is True
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/gif", "/static", "/api"])
def test_redirects_name_no_host(door: FrontDoor, path: str) -> None:
    response, _ = door.ask(path, headers={"Host": "forged.example"})
    assert (response.status, response.headers["Location"]) == (301, f"{path}/")


NETWORKS = {
    "203.0.113.77": "203.0.113.0",
    "2001:db8:1:2:3:4:5:6": "2001:db8:1::",
    "2001:db8::7": "2001:db8::",
    "fe80::1": "fe80::",
}


def test_the_access_log_can_have_networks_in_place_of_addresses(tmp_path: Path) -> None:
    nginx = Nginx(
        binary=find_nginx(),
        template=NGINX_TEMPLATE,
        port=free_port(),
        internal_port=free_port(),
        work_dir=tmp_path,
        access_log=tmp_path / "access.log",
        max_files=1_024,
        ipv6=False,
        log_networks=True,
    )
    nowhere = Upstreams([free_port()], [free_port()], [free_port()])
    nginx.write_config(nowhere)
    # One worker, so that the lines are in the order of the requests.
    from_header = {"REAL_IP": "set_real_ip_from 127.0.0.1; real_ip_header X-Address;", "WORKER_PROCESSES": "1"}
    nginx.config.write_text(render(NGINX_TEMPLATE.read_text(), nginx.values(nowhere) | from_header))
    with running("nginx", nginx.command(), tmp_path, partial(wait_until_ready, nginx)):
        door = FrontDoor(nginx, {}, tmp_path)
        for address in NETWORKS:
            door.ask("/metrics", headers={"X-Address": address})
    logged = [line.partition(" ")[0] for line in nginx.access_log.read_text().splitlines()]
    assert logged == list(NETWORKS.values())
    assert [network_of(address) for address in NETWORKS] == logged, "the services shorten addresses in the same way"


def test_the_template_is_valid_for_a_reload(door: FrontDoor) -> None:
    subprocess.run(door.nginx.check_command(), check=True)
