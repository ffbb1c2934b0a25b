"""The gateway's Engine.IO and Socket.IO servers in a real uvicorn, with small namespaces instead of the product's."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import socketio
import uvicorn
import uvloop
from socketio.exceptions import ConnectionRefusedError as Refused
from starlette.applications import Starlette

from gifchat_chassis.background_tasks import cancel_until_done
from gifchat_realtime_gateway.engine.connection import CloseReason
from gifchat_realtime_gateway.engine.fan_out import FlushScheduler, Group
from gifchat_realtime_gateway.engine.intake import IntakeBounds, Rate
from gifchat_realtime_gateway.engine.options import EngineOptions
from gifchat_realtime_gateway.engine.server import EngineServer
from gifchat_realtime_gateway.socketio.client_manager import ClientManager
from gifchat_realtime_gateway.socketio.overrides import ChatServer, EventHandler
from gifchat_testkit.waiting import block_until

ORIGIN = "http://chat.example"
PING_INTERVAL_S = 0.3
PING_TIMEOUT_S = 0.2
MAX_BYTES = 64 * 1024
SEND_BUFFER_BYTES = 32 * 1024
"""The kernel's send buffer. It is small, so that tests reach our own limit soon."""
DEADLINE_S = 10.0
PLENTY = Rate(packets_per_s=1e6, packets_at_once=1e6, bytes_per_s=1e9, bytes_at_once=1e9)
NO_BOUNDS = IntakeBounds(client=PLENTY, address=PLENTY, connections_per_address=100_000, guests_per_address=100_000)
"""For tests of other things: all clients of a test have one address, and some send faster than people."""


@dataclass
class World:
    """A running server, and what its handlers have seen."""

    engine: EngineServer
    port: int = 0
    calls: list[tuple[str, ...]] = field(default_factory=list)
    """The calls of the handlers, in order."""
    environs: dict[str, dict[str, Any]] = field(default_factory=dict)
    draining: bool = False
    broken: bool = False
    """Whether `disconnect` handlers wait for a future that is cancelled."""
    sessions: Callable[[], int] = lambda: 0
    """Returns the number of the Socket.IO server's sessions, in all namespaces."""

    @property
    def url(self) -> str:
        """The server's URL."""
        return f"http://127.0.0.1:{self.port}"


def options(world: Callable[[], World], **more: Any) -> EngineOptions:
    """Return the options for either server, with short ping times."""
    usual = EngineOptions(
        allowed_origins=[ORIGIN],
        trusted_proxies="127.0.0.1",
        ping_interval_s=PING_INTERVAL_S,
        ping_timeout_s=PING_TIMEOUT_S,
        max_bytes=MAX_BYTES,
        draining=lambda: world().draining,
        bounds=NO_BOUNDS,
    )
    return replace(usual, **more)


def engine_world(**more: Any) -> World:
    """Create an Engine.IO server that echoes messages. Some messages are commands."""
    engine = EngineServer(options=options(lambda: world, **more))
    world = World(engine)

    async def on_connect(sid: str, environ: dict[str, Any]) -> None:
        engine.namespace_opened(sid)
        world.calls.append(("connect", sid))
        world.environs[sid] = environ

    async def on_message(sid: str, data: str | bytes) -> None:
        command, _, rest = data.partition(":") if isinstance(data, str) else ("", "", "")
        if command == "close":
            await engine.disconnect(sid)
        elif command == "many":
            for number in range(int(rest)):
                await engine.send(sid, str(number))
        elif command == "later":
            await asyncio.sleep(0.05)
            await engine.send(sid, rest)
        elif command == "fail":
            raise RuntimeError(rest)
        elif command == "note":
            world.calls.append(("note", sid, rest))
        else:
            await engine.send(sid, data)

    async def on_disconnect(sid: str, reason: str) -> None:
        world.calls.append(("disconnect", sid, reason))

    engine.on("connect", on_connect)
    engine.on("message", on_message)
    engine.on("disconnect", on_disconnect)
    return world


NAMESPACES = ("/", "/custom", "/admin")


def chat_world(**more: Any) -> World:
    """Create a Socket.IO server with the namespaces `/`, `/custom`, and `/admin`, which requires a token."""
    manager = ClientManager()
    server = ChatServer(client_manager=manager, async_handlers=False, options=options(lambda: world, **more))
    world = World(server.eio)
    for namespace in NAMESPACES:
        _Namespace(server, manager, world, namespace)
    world.sessions = lambda: sum(len(list(manager.get_participants(namespace, None))) for namespace in NAMESPACES)
    return world


class _Namespace:
    """The handlers of one namespace."""

    def __init__(self, server: ChatServer, manager: ClientManager, world: World, name: str) -> None:
        self._server, self._manager, self._world, self._name = server, manager, world, name
        self._group = Group(FlushScheduler(), deflates=world.engine.options.deflate)
        handlers: dict[str, EventHandler] = {
            "connect": self._on_connect,
            "disconnect": self._on_disconnect,
            "message": self._on_message,
            "message-with-ack": self._on_message_with_ack,
            "nothing": self._on_nothing,
            "later": self._on_later,
            "question": self._on_question,
            "enter": self._on_enter,
            "say": self._on_say,
            "kick": self._on_kick,
            "close": self._on_close,
            "broken": self._on_broken,
            "1": self._on_message,
            "1.5": self._on_message,
            "unanswered": self._on_unanswered,
        }
        for event, handler in handlers.items():
            server.on(event, handler, namespace=name)

    async def _emit(self, event: str, *data: Any, to: str, **more: Any) -> None:
        await self._server.emit(event, data, to=to, namespace=self._name, **more)

    async def _on_connect(self, sid: str, environ: dict[str, Any], auth: Any) -> None:
        self._world.calls.append(("connect", self._name, sid))
        self._world.environs[sid] = environ
        await self._emit("auth", auth or {}, to=sid)
        if self._name == "/admin" and (auth or {}).get("token") != "secret":
            raise Refused("Not authorized", {"wants": "a token"})

    async def _on_disconnect(self, sid: str, reason: str) -> None:
        self._world.calls.append(("disconnect", self._name, sid, reason))
        if self._world.broken:
            await self._on_broken(sid)

    async def _on_message(self, sid: str, *data: Any) -> None:
        await self._emit("message-back", *data, to=sid)

    async def _on_message_with_ack(self, _sid: str, *data: Any) -> tuple[Any, ...]:
        return data

    async def _on_unanswered(self, _sid: str) -> object:
        return self._server.not_handled

    async def _on_nothing(self, sid: str) -> None:
        self._world.calls.append(("nothing", self._name, sid))

    async def _on_later(self, sid: str, delay_s: float, *data: Any) -> None:
        await asyncio.sleep(delay_s)
        await self._emit("message-back", *data, to=sid)

    async def _on_question(self, sid: str, *data: Any) -> None:
        async def answered(*answer: Any) -> None:
            await self._emit("answered", *answer, to=sid)

        await self._emit("question", *data, to=sid, callback=answered)

    async def _on_enter(self, sid: str) -> bool:
        connection = self._world.engine.find(self._manager.eio_sid_from_sid(sid, self._name) or "")
        assert connection is not None
        self._group.add(connection)
        return True

    async def _on_say(self, _sid: str, text: str) -> int:
        prefix = "" if self._name == "/" else f"{self._name},"
        self._group.send(f'42{prefix}["said","{text}"]'.encode())
        await asyncio.sleep(0)
        return len(self._group)

    async def _on_broken(self, _sid: str) -> None:
        waited_for = asyncio.get_running_loop().create_future()
        waited_for.cancel()
        await waited_for

    async def _on_kick(self, sid: str) -> None:
        await self._server.disconnect(sid, namespace=self._name)

    async def _on_close(self, sid: str) -> None:
        connection = self._world.engine.find(self._manager.eio_sid_from_sid(sid, self._name) or "")
        assert connection is not None
        connection.close(CloseReason.SERVER)


@contextmanager
def served(world: World) -> Iterator[World]:
    """Serve the world as the gateway does, on a free port and in its own thread."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        running = asyncio.create_task(world.engine.run())
        yield
        await cancel_until_done(running)
        await world.engine.shutdown()

    app = socketio.ASGIApp(world.engine, Starlette(lifespan=lifespan))
    listener = socket.create_server(("127.0.0.1", 0), backlog=1_024)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES // 2)
    world.port = listener.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=world.engine.http_protocol,  # type: ignore[arg-type]
            ws=world.engine.websocket_protocol,  # type: ignore[arg-type]
            forwarded_allow_ips="127.0.0.1",
            access_log=False,
            log_config=None,
            timeout_graceful_shutdown=1,
        )
    )

    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server.serve(sockets=[listener]))

    thread = threading.Thread(target=run, name="engine world")
    thread.start()
    try:
        block_until(lambda: server.started, "the server to start")
        yield world
    finally:
        server.should_exit = True
        thread.join(DEADLINE_S)
        assert not thread.is_alive(), "the server did not stop in time"
