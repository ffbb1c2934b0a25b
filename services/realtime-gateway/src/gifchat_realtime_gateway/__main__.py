"""`python -m gifchat_realtime_gateway`: serve sockets until SIGTERM, then drain and stop with success."""

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
import uvloop
from pydantic import ValidationError
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from gifchat_contracts import limits
from gifchat_realtime_gateway.app import Gateway, create_gateway
from gifchat_realtime_gateway.logs import configure_logs
from gifchat_realtime_gateway.settings import Settings

SEND_BUFFER_BYTES = 256 * 1024
"""What the kernel may hold for a reader (it doubles what it is told); without it, megabytes before our bound shows."""
BACKLOG = 4_096
GARBAGE_AT_ONCE = 50_000
"""New objects after which the collector looks for cycles (Python: 700). A connection is some dozens that stay: in a
storm of joins it would look through what lives again and again, a fifth of a join's CPU time at 3,000 connections."""


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn would close every socket at once."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Capture nothing."""
        yield


async def _serve(settings: Settings) -> int:
    gateway = create_gateway(settings)
    # What is loaded by now stays: the collector need not look at it any more.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_AT_ONCE)
    server = _Server(
        uvicorn.Config(
            gateway.app,
            http=gateway.http_protocol(HttpToolsProtocol, WebSocketsSansIOProtocol),  # type: ignore[arg-type]
            ws=gateway.websocket_protocol(WebSocketsSansIOProtocol),  # type: ignore[arg-type]
            ws_max_size=limits.SOCKET_MESSAGE_MAX_BYTES,
            ws_per_message_deflate=False,
            proxy_headers=True,
            forwarded_allow_ips=settings.forwarded_allow_ips,
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=5,
        )
    )
    stops: set[asyncio.Task[None]] = set()

    def stop() -> None:
        if stops:
            server.should_exit = server.force_exit = True
            return
        stops.add(asyncio.create_task(_stop(gateway, server), name="stop"))

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    with _listen(settings.host, settings.port) as listener:
        await server.serve(sockets=[listener])
    return 1 if gateway.failed.is_set() else 0


def _listen(host: str, port: int) -> socket.socket:
    """The listening socket; what it accepts has its bounded send buffer.

    Raises:
        OSError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES // 2)
    return listener


async def _stop(gateway: Gateway, server: uvicorn.Server) -> None:
    try:
        await gateway.drain()
    finally:
        server.should_exit = True


def main() -> int:
    """Run the service; 2 where the environment is wrong."""
    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors():
            where = ".".join(str(part) for part in problem["loc"]).upper()
            sentence = problem["msg"].removeprefix("Value error, ")
            print(f"realtime-gateway cannot start: {where + ': ' if where else ''}{sentence}", file=sys.stderr)  # noqa: T201
        return 2
    configure_logs(settings.log_level, settings.log_format, settings.node_name)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(settings))
    except OSError as error:
        print(f"realtime-gateway cannot listen on {settings.host}:{settings.port}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 1


if __name__ == "__main__":
    sys.exit(main())
