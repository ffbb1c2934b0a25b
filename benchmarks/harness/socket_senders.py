"""Members who send messages over their sockets, with a minimal client, so that the client costs little itself."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from benchmarks.harness.load import RunFailedError
from gifchat_cli.bench.generator import ENTER, join_packet
from gifchat_contracts.identity import SESSION_COOKIE
from gifchat_contracts.ids import RoomId
from gifchat_testkit.raw_websocket import RawWebSocket, raw_websocket
from gifchat_testkit.tokens import session_cookie

TIMEOUT_S = 30.0
_TARGET = "/socket.io/?EIO=4&transport=websocket"
_PING = b"2"
_DELIVERY = b'42/chat,["chat",'
_ACK = b"43/chat,"


@dataclass(eq=False, slots=True)
class Sender:
    """One member's WebSocket."""

    socket: RawWebSocket
    room_id: RoomId
    delivered: int = 0
    """How many messages the room has delivered to it."""
    _acks: dict[int, asyncio.Future[bytes]] = field(default_factory=dict)
    _next_id: int = 0

    async def ask(self, packet: str) -> bytes:
        """Send an event that asks for an ack; return the ack's data. `packet` has `{id}` in place of the ack's id."""
        number, self._next_id = self._next_id, self._next_id + 1
        ack: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._acks[number] = ack
        await self.socket.text(packet.replace("{id}", str(number), 1))
        async with asyncio.timeout(TIMEOUT_S):
            answer = await ack
        if not answer.startswith(b'[{"ok":true'):
            raise RunFailedError(f"refused: {answer[:400]!r}")
        return answer

    async def send(self, number: int, text: str) -> None:
        """Send a message, and wait until it is acked as stored."""
        message = json.dumps({"room": self.room_id, "client_message_id": f"bench-{number}", "text": text})
        await self.ask(f'42/chat,{{id}}["chat",{message}]')

    async def read(self) -> None:
        """Read until the connection ends: count deliveries, answer pings, and pass on acks."""
        buffer = b""
        async for data in self.socket.received():
            buffer += data
            at = 0
            while (frame := _frame(buffer, at)) is not None:
                start, at = frame
                if buffer.startswith(_DELIVERY, start):
                    self.delivered += 1
                elif buffer.startswith(_ACK, start):
                    number, bracket, rest = buffer[start + len(_ACK) : at].partition(b"[")
                    self._acks.pop(int(number)).set_result(bracket + rest)
                elif buffer[start:at] == _PING:
                    await self.socket.text("3")
            buffer = buffer[at:]


def _frame(buffer: bytes, at: int) -> tuple[int, int] | None:
    """Return where the payload of the frame at `at` begins and ends; None if the frame is not complete."""
    if len(buffer) < at + 2:
        return None
    size, start = buffer[at + 1], at + 2
    if size >= 126:
        start += 2 if size == 126 else 8
        if len(buffer) < start:
            return None
        size = int.from_bytes(buffer[at + 2 : start], "big")
    return (start, start + size) if len(buffer) >= start + size else None


@asynccontextmanager
async def _joined(port: int, room_id: RoomId, session: str) -> AsyncIterator[Sender]:
    cookie = f"{SESSION_COOKIE}={session_cookie(session)}"
    async with raw_websocket(port, _TARGET, {"Cookie": cookie}) as socket:
        if socket.status != 101:
            raise RunFailedError(f"no WebSocket: {socket.head!r}")
        await socket.frame()
        await socket.text(ENTER)
        opened = await socket.frame()
        if not opened[1].startswith(b"40/chat,"):
            raise RunFailedError(f"the namespace was not opened: {opened!r}")
        sender = Sender(socket, room_id)
        reading = asyncio.create_task(sender.read())
        try:
            await sender.ask(join_packet(room_id).replace("0", "{id}", 1))
            yield sender
        finally:
            reading.cancel()
            await asyncio.wait([reading])


@dataclass(frozen=True, slots=True)
class SocketSenders:
    """Members of one room, spread over its gateways."""

    senders: Sequence[Sender]

    @classmethod
    async def open(
        cls, stack: AsyncExitStack, ports: Sequence[int], room_id: RoomId, sessions: Sequence[str]
    ) -> "SocketSenders":
        """Join each session, at the gateways in turn."""
        return cls(
            [
                await stack.enter_async_context(_joined(ports[number % len(ports)], room_id, session))
                for number, session in enumerate(sessions)
            ]
        )

    async def send(self, messages: Sequence[tuple[int, str]], per_s: float) -> list[float]:
        """Send numbered texts, each by the next member; return the seconds from when each was due until its ack.

        Raises:
            RunFailedError: a message was refused, or a member did not receive every message.
        """
        expected = [each.delivered + len(messages) for each in self.senders]
        took: list[float] = []
        began = time.monotonic()

        async def work(first: int) -> None:
            for at in range(first, len(messages), len(self.senders)):
                due = began + at / per_s
                if (wait_s := due - time.monotonic()) > 0:
                    await asyncio.sleep(wait_s)
                await self.senders[first].send(*messages[at])
                took.append(time.monotonic() - due)

        async with asyncio.TaskGroup() as group:
            for first in range(len(self.senders)):
                group.create_task(work(first))
        await self._until_delivered(expected)
        return took

    async def _until_delivered(self, expected: Sequence[int]) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while (delivered := [each.delivered for each in self.senders]) != list(expected):
            if time.monotonic() > deadline:
                raise RunFailedError(f"deliveries to the senders: {delivered} in place of {expected}")
            await asyncio.sleep(0.01)
