"""A process starts, serves a small application and stops."""

import asyncio
import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gifchat_chassis import serve as module
from gifchat_chassis.serve import BACKLOG, run_service, serve
from gifchat_chassis.settings import NodeName, Port, ServiceSettings

DEADLINE_S = 20.0


class Settings(ServiceSettings):
    port: Port = 8000
    node_name: NodeName = "small"


def main(how: str) -> int:
    """The process under test."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> Any:
        if how == "broken":
            raise RuntimeError("cannot start")
        yield
        print(json.dumps({"event": "closed"}), flush=True)

    async def answer(request: Request) -> Response:
        assert request.client
        return PlainTextResponse(request.client.host)

    failed = asyncio.Event()

    async def drain() -> None:
        if how == "fails":
            failed.set()
        print(json.dumps({"event": "draining"}), flush=True)
        if how == "drains forever":
            await asyncio.Event().wait()

    app = Starlette(routes=[Route("/", answer)], lifespan=lifespan)
    return run_service("small", Settings, lambda settings: serve(app, settings, drain=drain, failed=failed))


@contextmanager
def running(how: str = "", **environment: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start the process; yield it and its port once it listens."""
    with subprocess.Popen(
        [sys.executable, Path(__file__), how],
        env={"PATH": os.environ["PATH"], "PORT": "0", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process, until(process, "listening")["port"]
        finally:
            process.kill()


def until(process: subprocess.Popen[str], event: str) -> dict[str, Any]:
    assert process.stdout
    for line in process.stdout:
        found: dict[str, Any] = json.loads(line)
        if found["event"] == event:
            return found
    raise AssertionError(f"no {event}")


def ask(port: int, forwarded_for: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/", headers={"X-Forwarded-For": forwarded_for})
    answer = connection.getresponse().read()
    connection.close()
    return answer


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_requested_stop_drains_and_exits_with_success(number: signal.Signals) -> None:
    with running() as (process, _port):
        until(process, "Application startup complete.")
        process.send_signal(number)
        until(process, "draining")
        until(process, "closed")
        assert process.wait(DEADLINE_S) == 0


def test_a_second_signal_does_not_wait_for_the_drain() -> None:
    with running("drains forever") as (process, _port):
        until(process, "Application startup complete.")
        process.terminate()
        until(process, "draining")
        process.terminate()
        assert process.wait(DEADLINE_S) == 0


def test_a_service_that_cannot_start_fails() -> None:
    with running("broken") as (process, _port):
        assert process.wait(DEADLINE_S) not in {0, 2}


def test_a_service_whose_task_died_fails() -> None:
    with running("fails") as (process, _port):
        until(process, "Application startup complete.")
        process.terminate()
        assert process.wait(DEADLINE_S) == 1


def test_a_taken_address_is_reported_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, Path(__file__), ""],
            env={"PATH": os.environ["PATH"], "PORT": str(port)},
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_S,
        )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"small cannot listen on 127.0.0.1:{port}: ")


@pytest.mark.parametrize(
    ("proxies", "address"),
    [
        ("127.0.0.1", b"198.51.100.7"),
        ("127.0.0.9/8", b"198.51.100.7"),
        ("10.0.0.0/8", b"127.0.0.1"),
        ("", b"127.0.0.1"),
    ],
)
def test_only_trusted_proxies_set_the_client_address(proxies: str, address: bytes) -> None:
    with running(FORWARDED_ALLOW_IPS=proxies) as (_process, port):
        assert ask(port, "198.51.100.7") == address


def test_the_listener_keeps_its_backlog_and_send_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uvicorn calls `listen` a second time, with its own backlog."""
    listeners: list[socket.socket] = []
    listen = module._listen

    def remember(*arguments: Any) -> socket.socket:
        listeners.append(listen(*arguments))
        return listeners[-1]

    monkeypatch.setattr(module, "_listen", remember)
    backlogs: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})

    async def run() -> None:
        settings = Settings(port=0)
        serving = asyncio.create_task(
            serve(app, settings, send_buffer_bytes=128 * 1024, receive_buffer_bytes=64 * 1024)
        )
        await asyncio.sleep(0.5)
        # The kernel reports a listener's backlog in `tcpi_sacked`.
        info = listeners[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        assert listeners[0].getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 128 * 1024
        assert listeners[0].getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 64 * 1024
        backlogs.append(struct.unpack_from("=8B8I", info)[13])
        os.kill(os.getpid(), signal.SIGTERM)
        assert await serving == 0

    asyncio.run(run())
    limit = int(Path("/proc/sys/net/core/somaxconn").read_text())
    assert backlogs == [min(BACKLOG, limit)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
