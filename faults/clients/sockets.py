"""Our own Socket.IO client, which exposes and controls every packet on both transports, and can upgrade or vanish."""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from faults.clients.links import ConnectionLostError, FinishedError, Link, PollingLink, WebSocketLink
from faults.clients.person import Person
from gifchat_contracts.socket_events import CHAT_NAMESPACE

Transport = Literal["websocket", "polling", "upgrade"]
OPEN_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Event:
    """An event from the server in `/chat`."""

    name: str
    data: Any


@dataclass(frozen=True, slots=True)
class Ack:
    """The ack of an emit; `emit` returned its `id`."""

    id: int
    data: Any


class ChatConnection:
    """An Engine.IO connection with a session in `/chat`.

    Packets arrive in the server's order. `emit` does not wait for its ack.
    """

    def __init__(self, person: Person, link: Link, handshake: Mapping[str, Any]) -> None:
        """Use `open`."""
        self._person = person
        self._link = link
        self._sid = str(handshake["sid"])
        self._silence_s = (handshake["pingInterval"] + handshake["pingTimeout"]) / 1000
        self._packets: asyncio.Queue[Event | Ack | ConnectionLostError] = asyncio.Queue()
        self._reads = asyncio.Event()
        self._reads.set()
        self._upgraded = asyncio.Event()
        self._acks = 0
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, person: Person, transport: Transport = "websocket") -> Self:
        """Connect, and open the namespace `/chat`. Transport `upgrade` begins with polling and waits for `upgrade()`.

        Raises:
            ConnectionLostError: it was refused, or not open within `OPEN_TIMEOUT_S`.
        """
        opening = WebSocketLink.open if transport == "websocket" else PollingLink.open
        link: Link | None = None
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                link = await opening(person)
                handshake = json.loads((await link.receive())[1:])
                await link.send(f"40{CHAT_NAMESPACE},")
                answer = await link.receive()
                while not answer.startswith("4"):
                    answer = await link.receive()
        except TimeoutError as error:
            _abort(link)
            raise ConnectionLostError(f"not open within {OPEN_TIMEOUT_S} s") from error
        except BaseException:
            _abort(link)
            raise
        if not answer.startswith(f"40{CHAT_NAMESPACE},"):
            _abort(link)
            raise ConnectionLostError(f"refused: {answer[:200]}")
        connection = cls(person, link, handshake)
        connection._reading = asyncio.create_task(connection._read(), name="read packets")
        return connection

    @property
    def upgraded(self) -> bool:
        """Whether the connection was upgraded from polling to WebSocket."""
        return self._upgraded.is_set()

    async def emit(self, event: str, data: Any) -> int:
        """Emit an event and return the id of its ack.

        Raises:
            ConnectionLostError: the connection is closed.
        """
        self._acks += 1
        ack = self._acks
        await self._link.send(f"42{CHAT_NAMESPACE},{ack}{json.dumps([event, data])}")
        return ack

    async def receive(self, timeout_s: float | None = None) -> Event | Ack | None:
        """Wait for the next packet; None if there was none in time.

        Raises:
            ConnectionLostError: the connection is closed, or the server missed its heartbeat.
        """
        try:
            async with asyncio.timeout(timeout_s):
                packet = await self._packets.get()
        except TimeoutError:
            return None
        if isinstance(packet, ConnectionLostError):
            self._packets.put_nowait(packet)
            raise packet
        return packet

    async def upgrade(self) -> None:
        """Upgrade from polling to WebSocket, as the official client does.

        Raises:
            ConnectionLostError: the connection was lost meanwhile, or the probe failed.
        """
        polling = self._link
        assert isinstance(polling, PollingLink), "only polling is upgraded"
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            websocket = await WebSocketLink.open(self._person, sid=self._sid)
            await websocket.send("2probe")
            if await websocket.receive() != "3probe":
                raise ConnectionLostError("the probe was not answered")
            await polling.finish()
            self._link = websocket
            self._upgraded.set()
            await websocket.send("5")

    async def upgrade_if_possible(self) -> None:
        """Like `upgrade`, but `receive` reports a failure."""
        with contextlib.suppress(ConnectionLostError, TimeoutError):
            await self.upgrade()

    def pause_reading(self) -> None:
        """Stop reading, so that the buffers on the way to this client fill up."""
        self._reads.clear()

    def resume_reading(self) -> None:
        """Continue reading."""
        self._reads.set()

    async def close(self) -> None:
        """Close the session and the connection; never raises."""
        try:
            async with asyncio.timeout(2.0):
                await self._link.send(f"41{CHAT_NAMESPACE},")
                await self._link.close()
        except (ConnectionLostError, TimeoutError):
            pass
        finally:
            self.abort()

    def abort(self, reason: str = "ended by the test") -> None:
        """Drop the connection without a handshake, like a crash or a lost network."""
        if self._reading is not None:
            self._reading.cancel()
        self._link.abort()
        self._packets.put_nowait(ConnectionLostError(reason))

    async def _read(self) -> None:
        try:
            while True:
                await self._reads.wait()
                link = self._link
                try:
                    async with asyncio.timeout(self._silence_s):
                        packet = await link.receive()
                except FinishedError:
                    await self._upgraded.wait()
                    continue
                if packet == "2":
                    await self._link.send("3")
                elif packet == "1" or packet.startswith("41"):
                    raise ConnectionLostError("closed by the server")  # noqa: TRY301 - one way out
                elif (parsed := _parse(packet)) is not None:
                    self._packets.put_nowait(parsed)
        except TimeoutError:
            self._packets.put_nowait(ConnectionLostError(f"silent for {self._silence_s:g} s"))
        except ConnectionLostError as lost:
            self._packets.put_nowait(lost)
        except ValueError as error:
            # The official client closes the connection in this case.
            self._link.abort()
            self._packets.put_nowait(ConnectionLostError(f"undecodable packet: {error}"))


def _parse(packet: str) -> Event | Ack | None:
    kind, rest = packet[:2], packet[2:]
    if kind not in ("42", "43") or not rest.startswith(f"{CHAT_NAMESPACE},"):
        return None
    body = rest[len(CHAT_NAMESPACE) + 1 :]
    at = body.index("[")
    content = json.loads(body[at:])
    if kind == "43":
        return Ack(int(body[:at]), content[0] if content else None)
    return Event(content[0], content[1] if len(content) > 1 else None)


def _abort(link: Link | None) -> None:
    if link is not None:
        link.abort()
