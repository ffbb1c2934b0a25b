"""The two transports of Engine.IO, packet by packet."""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, Self

import httpx
import websockets
from websockets.asyncio.client import ClientConnection, connect

from faults.clients.person import Person

_SEPARATOR = "\x1e"
_PATH = "/socket.io/?EIO=4&transport="


class ConnectionLostError(Exception):
    """The connection could not be opened or was lost; `str()` says why."""


class Link(Protocol):
    """Carries packets. Every method except `abort` may raise `ConnectionLostError`."""

    async def receive(self) -> str:
        """Wait for the next packet, without a timeout."""
        ...

    async def send(self, packet: str) -> None:
        """Send one packet."""
        ...

    async def close(self) -> None:
        """Close the connection as the transport specifies."""
        ...

    def abort(self) -> None:
        """Drop the connection without a closing handshake."""
        ...


class FinishedError(Exception):
    """Polling ended because of an upgrade."""


class WebSocketLink:
    """A `Link` over WebSocket: one packet per frame."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, person: Person, sid: str | None = None) -> Self:
        """Connect; `sid` names a session that began with polling."""
        url = person.url.replace("http", "ws", 1) + f"{_PATH}websocket" + (f"&sid={sid}" if sid else "")
        try:
            connection = await connect(
                url,
                additional_headers={"Cookie": person.cookie_header()},
                compression=None,
                ping_interval=None,
                close_timeout=1.0,
                max_size=None,
                proxy=None,
            )
        except (OSError, websockets.WebSocketException) as error:
            raise ConnectionLostError(_reason(error)) from error
        if connection.response is not None:
            person.keep_cookies(connection.response.headers.get_all("Set-Cookie"))
        return cls(connection)

    async def receive(self) -> str:
        """See `Link`."""
        return str(await _or_lost(self._connection.recv))

    async def send(self, packet: str) -> None:
        """See `Link`."""
        await _or_lost(lambda: self._connection.send(packet))

    async def close(self) -> None:
        """See `Link`."""
        await self._connection.close()

    def abort(self) -> None:
        """See `Link`."""
        self._connection.transport.abort()


class PollingLink:
    """A `Link` over HTTP: one pending GET for receiving, and a POST per sent packet."""

    def __init__(self, person: Person, packets: list[str]) -> None:
        self._http = person.http
        self._packets = deque(packets)
        self._url = f"{_PATH}polling&sid={json.loads(packets[0][1:])['sid']}"
        self._finishing = False
        self._finished = asyncio.Event()
        self._requests: set[asyncio.Task[Any]] = set()

    @classmethod
    async def open(cls, person: Person) -> Self:
        """Connect."""
        answer = await _or_lost(lambda: person.http.get(f"{_PATH}polling"))
        return cls(person, _polled(answer))

    async def receive(self) -> str:
        """See `Link`."""
        while not self._packets:
            if self._finishing:
                self._finished.set()
                raise FinishedError
            answer = await self._request(lambda: self._http.get(self._url, timeout=None))
            self._packets.extend(_polled(answer))
        return self._packets.popleft()

    async def send(self, packet: str) -> None:
        """See `Link`."""
        answer = await self._request(lambda: self._http.post(self._url, content=packet))
        _polled(answer)

    async def finish(self) -> None:
        """Wait until no poll is pending: the server answers the last one because of the upgrade probe."""
        self._finishing = True
        await self._finished.wait()

    async def close(self) -> None:
        """See `Link`."""
        await self.send("1")

    def abort(self) -> None:
        """See `Link`."""
        for task in self._requests:
            task.cancel()

    async def _request(self, request: Callable[[], Any]) -> httpx.Response:
        task = asyncio.ensure_future(request())
        self._requests.add(task)
        try:
            response: httpx.Response = await _or_lost(lambda: task)
            return response
        finally:
            self._requests.discard(task)


def _polled(answer: httpx.Response) -> list[str]:
    if answer.status_code != httpx.codes.OK:
        raise ConnectionLostError(f"{answer.status_code}: {answer.text[:100]}")
    return answer.text.split(_SEPARATOR)


async def _or_lost(call: Callable[[], Any]) -> Any:
    try:
        return await call()
    except (OSError, websockets.WebSocketException, httpx.HTTPError) as error:
        raise ConnectionLostError(_reason(error)) from error
    except asyncio.CancelledError as cancelled:
        # The library cancelled its own future when the connection was lost; this task was not cancelled.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise ConnectionLostError("cancelled by the library") from cancelled


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200]
