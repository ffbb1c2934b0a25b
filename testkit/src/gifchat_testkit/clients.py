"""Clients for tests: a visitor with a session cookie, and a Socket.IO client that records what it receives."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import httpx
import socketio

from gifchat_contracts import socket_events

DEADLINE_S = 15.0
DISCONNECT_TIMEOUT_S = 2.0


@asynccontextmanager
async def visitor(url: str, language: str = "en", address: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """Create an HTTP client that acts like a browser on `url`, with a session, an `Origin` and a language.

    `address`: the loopback address that it connects from.
    """
    headers = {"Origin": url, "Accept-Language": language}
    transport = httpx.AsyncHTTPTransport(local_address=address, verify=False)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=DEADLINE_S, transport=transport) as client:
        answer = await client.post("/api/v1/session")
        answer.raise_for_status()
        yield client


def cookie_header(client: httpx.AsyncClient) -> str:
    """Return the visitor's cookies as a Cookie header, for its sockets."""
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in client.cookies.jar)


@dataclass(frozen=True, slots=True)
class Received:
    """One event that a client received."""

    namespace: str
    event: str
    data: Any


class ChatSocket:
    """A Socket.IO client in `/chat` and the lobby; `received` holds every event in order."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.received: list[Received] = []
        self.disconnects = 0
        self._changed = asyncio.Condition()
        for namespace in (socket_events.CHAT_NAMESPACE, socket_events.LOBBY_NAMESPACE):
            client.on("*", self._recorder(namespace), namespace=namespace)
        client.on("disconnect", self._on_disconnect, namespace=socket_events.CHAT_NAMESPACE)

    def _recorder(self, namespace: str) -> Callable[..., Any]:
        async def record(event: str, data: Any = None) -> None:
            async with self._changed:
                self.received.append(Received(namespace, event, data))
                self._changed.notify_all()

        return record

    async def _on_disconnect(self, *_reason: object) -> None:
        self.disconnects += 1

    @property
    def connected(self) -> bool:
        """Whether the transport is up now."""
        return bool(self._client.connected)

    async def call(self, event: str, data: Any, namespace: str = socket_events.CHAT_NAMESPACE) -> Any:
        """Emit and wait for the ack."""
        return await self._client.call(event, data, namespace=namespace, timeout=DEADLINE_S)

    async def emit(self, event: str, data: Any, namespace: str = socket_events.CHAT_NAMESPACE) -> None:
        """Emit without an ack."""
        await self._client.emit(event, data, namespace=namespace)

    async def join(self, room_id: str, **more: Any) -> dict[str, Any]:
        """Join a room (`ticket=`, `position=`) and return the body of the ack.

        Raises:
            AssertionError: the join was refused.
        """
        ack = await self.call(socket_events.JOIN, {"room": room_id, **more})
        assert isinstance(ack, dict), f"join was acked with {ack!r}"
        assert ack.get("ok"), f"join was refused: {ack}"
        return ack

    async def wait_for(
        self, event: str, fits: Callable[[Any], bool] = lambda _data: True, timeout_s: float = DEADLINE_S
    ) -> Any:
        """Wait for the first `event` that `fits`, and return its data; it may have arrived already.

        Raises:
            AssertionError: there was none within `timeout_s`; the message lists what arrived.
        """

        def found() -> list[Any]:
            return [entry.data for entry in self.received if entry.event == event and fits(entry.data)]

        async with self._changed:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait_for(lambda: bool(found()))
            except TimeoutError:
                raise AssertionError(f"no such {event} within {timeout_s} s; received: {self.received}") from None
            return found()[0]


@asynccontextmanager
async def chat_socket(
    url: str, cookies: str | None = None, transports: tuple[str, ...] = ("websocket",), *, browser: bool = True
) -> AsyncIterator[ChatSocket]:
    """Connect a `ChatSocket` that does not reconnect by itself. `browser`: it sends an `Origin`."""
    headers = {**({"Origin": url} if browser else {}), **({"Cookie": cookies} if cookies else {})}
    namespaces = [socket_events.CHAT_NAMESPACE, socket_events.LOBBY_NAMESPACE]
    # `connect(headers=…)` would send the cookie only with the first request, but every request needs it.
    async with aiohttp.ClientSession(headers=headers) as http:
        client: Any = socketio.AsyncClient(reconnection=False, http_session=http)
        socket = ChatSocket(client)
        await client.connect(url, transports=list(transports), namespaces=namespaces, wait_timeout=10)
        try:
            yield socket
        finally:
            # After closing, a polling client waits for the answer to its poll, which may take a ping interval.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DISCONNECT_TIMEOUT_S):
                    await client.disconnect()
