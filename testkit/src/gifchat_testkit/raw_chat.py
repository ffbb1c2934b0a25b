"""A Socket.IO client in `/chat` that can send raw packets and shows every event."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

DEADLINE_S = 10.0
_NAMESPACE = "/chat"


class RawChat:
    """One connection in the namespace `/chat`."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.handshake: dict[str, Any] = {}
        """The payload of the Engine.IO OPEN packet."""
        self.opened: dict[str, Any] = {}
        """The payload of the server's CONNECT answer."""
        self.events: list[tuple[str, Any]] = []
        """Name and payload of every event, in order."""
        self._acks: dict[int, Any] = {}
        self._next_id = 1
        self._changed = asyncio.Event()

    async def connect(self, auth: dict[str, Any] | None) -> None:
        """Read the handshake, and open the namespace."""
        self.handshake = json.loads(str(await self._connection.recv())[1:])
        await self._connection.send(f"40{_NAMESPACE},{'' if auth is None else json.dumps(auth)}")
        while True:
            packet = str(await self._connection.recv())
            if packet.startswith(f"40{_NAMESPACE},"):
                self.opened = json.loads(packet.partition(",")[2])
                return

    @property
    def closed(self) -> bool:
        """Whether the server has closed the connection, or it was lost."""
        return self._connection.close_code is not None

    async def listen(self) -> None:
        """Read packets until the connection ends."""
        with suppress(ConnectionClosed):
            async for message in self._connection:
                self._take(str(message))
                self._changed.set()
                if message == "2":
                    await self._connection.send("3")
        self._changed.set()

    def _take(self, packet: str) -> None:
        if packet.startswith(f"42{_NAMESPACE},"):
            name, *data = json.loads(packet.partition(",")[2])
            self.events.append((name, data[0] if data else None))
        elif packet.startswith(f"43{_NAMESPACE},"):
            head, _, content = packet.partition(",")[2].partition("[")
            self._acks[int(head)] = json.loads("[" + content)[0]

    async def call(self, event: str, *data: Any, timeout_s: float = DEADLINE_S) -> Any:
        """Emit, and return the payload of the ack.

        Raises:
            AssertionError: no ack arrived within `timeout_s`, or the connection ended first.
        """
        number, self._next_id = self._next_id, self._next_id + 1
        await self._connection.send(f"42{_NAMESPACE},{number}{json.dumps([event, *data])}")
        await self._until(lambda: number in self._acks, f"ack of {event}", timeout_s)
        return self._acks.pop(number)

    async def emit(self, event: str, *data: Any) -> None:
        """Emit without an ack."""
        await self._connection.send(f"42{_NAMESPACE},{json.dumps([event, *data])}")

    async def event(self, name: str, count: int = 1) -> list[Any]:
        """Wait for the first `count` events of this name, and return their payloads."""
        await self._until(lambda: len(self.of(name)) >= count, f"{count} of {name}")
        return self.of(name)[:count]

    def of(self, name: str) -> list[Any]:
        """Return the payloads of the events of this name so far."""
        return [data for event, data in self.events if event == name]

    def cut(self) -> None:
        """Abort the TCP connection without a closing handshake."""
        self._connection.transport.abort()

    async def send_packet(self, packet: str) -> None:
        """Send a raw Engine.IO packet."""
        await self._connection.send(packet)

    async def _until(self, condition: Any, what: str, timeout_s: float = DEADLINE_S) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    assert not self.closed, f"the connection ended before: {what}"
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"no {what}; received {self.events}") from None


@asynccontextmanager
async def raw_chat(
    url: str, cookie: str | None = None, auth: dict[str, Any] | None = None, *, address: str | None = None
) -> AsyncIterator[RawChat]:
    """Connect to the gateway or nginx at `url` until the block ends.

    `address`: the loopback address that the client connects from.
    """
    where = f"{url.replace('http', 'ws', 1)}/socket.io/?EIO=4&transport=websocket"
    async with websockets.connect(
        where,
        additional_headers={"Cookie": cookie} if cookie else {},
        compression=None,
        open_timeout=DEADLINE_S,
        local_addr=(address, 0) if address else None,
    ) as connection:
        chat = RawChat(connection)
        await chat.connect(auth)
        listening = asyncio.create_task(chat.listen())
        try:
            yield chat
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening
