"""Serve the gateway's engine alone, for third-party test suites for Engine.IO and Socket.IO servers.

`python -m gifchat_testkit.protocol_suite engine.io` echoes messages below `/engine.io/`. `… socket.io` serves the
namespaces `/` and `/custom` below `/socket.io/`, with the events that the official suite sends. Both run on uvicorn
with the engine's protocols, as the gateway does. `docs/engine.md` says how to run the suites against it.
"""

import argparse
import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import socketio
import uvicorn
import uvloop
from starlette.applications import Starlette

from gifchat_chassis.logs import configure_logs
from gifchat_realtime_gateway.engine.options import EngineOptions
from gifchat_realtime_gateway.engine.server import EngineServer
from gifchat_realtime_gateway.socketio.client_manager import ClientManager
from gifchat_realtime_gateway.socketio.overrides import ChatServer

NAMESPACES = ("/", "/custom")
BACKLOG = 1_024
GREETING_DELAY_S = 0.02
"""The official suite listens for `auth` only after CONNECT's answer, so it would miss an event in the same segment."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the server."""

    ping_interval_s: float = 25.0
    ping_timeout_s: float = 20.0
    max_payload_bytes: int = 1_000_000
    allowed_origins: Sequence[str] = ()

    def for_engine(self, path: str) -> EngineOptions:
        """Return the options for `EngineServer` and `ChatServer`."""
        return EngineOptions(
            allowed_origins=self.allowed_origins,
            trusted_proxies="127.0.0.1",
            ping_interval_s=self.ping_interval_s,
            ping_timeout_s=self.ping_timeout_s,
            max_bytes=self.max_payload_bytes,
            draining=lambda: False,
            path=path,
        )


def engine_io(options: Options) -> EngineServer:
    """Make an Engine.IO server below `/engine.io/` that echoes text and binary messages."""
    engine = EngineServer(options=options.for_engine("/engine.io"))

    async def on_connect(sid: str, _environ: dict[str, Any]) -> None:
        engine.namespace_opened(sid)

    async def on_disconnect(_sid: str, _reason: str) -> None:
        """Nothing to do."""

    engine.on("connect", on_connect)
    engine.on("message", engine.send)
    engine.on("disconnect", on_disconnect)
    return engine


def socket_io(options: Options) -> ChatServer:
    """Make a Socket.IO server with the namespaces and events of the official suite."""
    server = ChatServer(client_manager=ClientManager(), async_handlers=False, options=options.for_engine("/socket.io"))
    for namespace in NAMESPACES:
        _add_namespace(server, namespace)
    return server


def _add_namespace(server: ChatServer, namespace: str) -> None:
    async def emit(event: str, *data: Any, to: str) -> None:
        await server.emit(event, data, to=to, namespace=namespace)

    tasks: set[asyncio.Task[None]] = set()

    async def greet(sid: str, auth: Any) -> None:
        await asyncio.sleep(GREETING_DELAY_S)
        await emit("auth", auth or {}, to=sid)

    async def on_connect(sid: str, _environ: dict[str, Any], auth: Any) -> None:
        task = asyncio.create_task(greet(sid, auth))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def on_message(sid: str, *data: Any) -> None:
        await emit("message-back", *data, to=sid)

    async def on_message_with_ack(_sid: str, *data: Any) -> tuple[Any, ...]:
        return data

    for event, handler in {
        "connect": on_connect,
        "message": on_message,
        "message-with-ack": on_message_with_ack,
    }.items():
        server.on(event, handler, namespace=namespace)


async def serve(engine: EngineServer, path: str, port: int) -> None:
    """Serve the engine like the gateway, on 127.0.0.1, until SIGTERM or SIGINT.

    Raises:
        OSError: the port is taken.
    """

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        running = asyncio.create_task(engine.run())
        yield
        running.cancel()
        await engine.shutdown()

    app = socketio.ASGIApp(engine, Starlette(lifespan=lifespan), socketio_path=path)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=engine.http_protocol,  # type: ignore[arg-type]
            ws=engine.websocket_protocol,  # type: ignore[arg-type]
            forwarded_allow_ips="127.0.0.1",
            access_log=False,
            log_config=None,
            timeout_graceful_shutdown=1,
        )
    )
    with socket.create_server(("127.0.0.1", port), backlog=BACKLOG) as listener:
        await server.serve(sockets=[listener])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the server."""
    parser = argparse.ArgumentParser("python -m gifchat_testkit.protocol_suite", description=__doc__)
    parser.add_argument("protocol", choices=["engine.io", "socket.io"])
    parser.add_argument("--port", type=int, default=3000)
    parser.add_argument("--ping-interval-ms", type=float, default=25_000.0)
    parser.add_argument("--ping-timeout-ms", type=float, default=20_000.0)
    parser.add_argument("--max-payload-bytes", type=int, default=1_000_000)
    parser.add_argument(
        "--allowed-origin", action="append", default=[], metavar="ORIGIN", help="may be given more than once"
    )
    chosen = parser.parse_args(arguments)
    options = Options(
        ping_interval_s=chosen.ping_interval_ms / 1000,
        ping_timeout_s=chosen.ping_timeout_ms / 1000,
        max_payload_bytes=chosen.max_payload_bytes,
        allowed_origins=chosen.allowed_origin,
    )
    engine = engine_io(options) if chosen.protocol == "engine.io" else socket_io(options).eio
    configure_logs("warning", "console", chosen.protocol)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(engine, chosen.protocol, chosen.port))


if __name__ == "__main__":
    main()
