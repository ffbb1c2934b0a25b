"""The process of a service: uvicorn on uvloop, signals, and a graceful stop."""

import asyncio
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog
import uvicorn
import uvloop
from starlette.types import ASGIApp

from gifchat_chassis.client_address import trusted_networks
from gifchat_chassis.logs import configure_logs
from gifchat_chassis.settings import AnySettings, ServiceSettings, load_settings

BACKLOG = 4_096
"""Connections that the kernel queues until the process accepts them."""
_log = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    """Leaves signals to `serve`, because uvicorn would close every socket at once."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def serve(
    app: ASGIApp,
    settings: ServiceSettings,
    *,
    drain: Callable[[], Awaitable[None]] | None = None,
    failed: asyncio.Event | None = None,
    send_buffer_bytes: int | None = None,
    receive_buffer_bytes: int | None = None,
    graceful_s: int = 10,
    **uvicorn_options: Any,
) -> int:
    """Serve until SIGTERM or SIGINT, then `drain` while still serving, finish the requests in flight and stop.

    Requests in flight get `graceful_s` to finish. A second signal stops at once. `send_buffer_bytes` and
    `receive_buffer_bytes` are the sizes of the kernel's buffers for each connection. Without `uvicorn_options` there
    are no WebSockets.

    Returns:
        The exit code of the process: 0, or 1 if `failed` is set (see `background_tasks`).

    Raises:
        OSError: the address is not available.
    """
    server = _Server(
        uvicorn.Config(
            app,
            proxy_headers=True,
            # Normalize the networks, because uvicorn ignores those with host bits set, such as `10.0.0.1/8`.
            forwarded_allow_ips=[str(network) for network in trusted_networks(settings.forwarded_allow_ips)],
            access_log=False,
            log_config=None,
            server_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=graceful_s,
            **{"http": "httptools", "ws": "none", **uvicorn_options},
        )
    )
    stopping: set[asyncio.Task[None]] = set()

    async def finish() -> None:
        try:
            if drain is not None:
                await drain()
        finally:
            server.should_exit = True

    def stop() -> None:
        if stopping:
            server.should_exit = server.force_exit = True
            return
        stopping.add(asyncio.create_task(finish(), name="stop"))

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    buffers = {socket.SO_SNDBUF: send_buffer_bytes, socket.SO_RCVBUF: receive_buffer_bytes}
    with _listen(settings.host, settings.port, buffers) as listener:
        host, port = listener.getsockname()[:2]
        _log.info("listening", host=host, port=port)
        await server.serve(sockets=[listener])
    return 1 if failed is not None and failed.is_set() else 0


def run_service(
    name: str, read_settings: Callable[[], AnySettings], serving: Callable[[AnySettings], Coroutine[Any, Any, int]]
) -> int:
    """Read the settings, configure the logs, run `serving` on uvloop, and return its exit code.

    If the address is not available, the exit code is 1; for invalid settings see `load_settings`.
    """
    settings = load_settings(name, read_settings)
    # Until the event loop handles signals, SIGTERM exits with 0, because a requested stop is not a failure.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    configure_logs(settings.log_level, settings.log_format, settings.node_name, settings.log_addresses)
    if weak := list(settings.weak_secrets()):
        _log.warning("weak_secrets", allowed="only on loopback, outside production", problems=weak)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(serving(settings))
    except OSError as error:
        print(f"{name} cannot listen on {settings.host}:{settings.port}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 1


def _listen(host: str, port: int, buffers: Mapping[int, int | None]) -> socket.socket:
    """Return the listening socket; the connections that it accepts inherit its buffers."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    for option, size in buffers.items():
        if size is not None:
            # The kernel doubles this number.
            listener.setsockopt(socket.SOL_SOCKET, option, size // 2)
    return listener
