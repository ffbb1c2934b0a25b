"""Normal pairs: a writer and a reader in a room, each with their own address.

Writers send on a schedule. The latency counts from the scheduled moment, so a stalled server cannot hide behind
messages that were not sent meanwhile.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx
from websockets.exceptions import WebSocketException

from abuse.member import Member
from gifchat_chassis.background_tasks import cancel_until_done
from gifchat_contracts import socket_events
from gifchat_testkit.clients import cookie_header, visitor
from gifchat_testkit.waiting import until

EVERY_S = 0.15
"""A writer's interval: below the budget of a connection, which is 10 events per second."""
ACK_TIMEOUT_S = 60.0
DELIVERY_TIMEOUT_S = 10.0
_MAX_IN_FLIGHT = 20
"""A writer sends no further message while this many have no ack: half of the burst of a connection's budget."""
_PLACEMENTS = 30
_ROOM_MAX = 1_000
_ROOM_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Sample:
    """One acknowledged message."""

    due_s: float
    """When it should be sent, by `time.monotonic`."""
    took_s: float


class Pair:
    """A writer and a reader in their own room."""

    def __init__(self, name: str, room: str, writer: Member, reader: Member) -> None:
        self.name = name
        self.room = room
        self.samples: list[Sample] = []
        self.refused: Counter[str] = Counter()
        """Messages that were refused, by code."""
        self._writer, self._reader = writer, reader
        self._acked: set[str] = set()
        self._sending: set[asyncio.Task[None]] = set()
        self._numbers = 0

    @property
    def disconnects(self) -> int:
        """How often one of the two lost its connection."""
        return self._writer.disconnects + self._reader.disconnects

    async def write(self) -> None:
        """Send messages until cancelled."""
        due_s = time.monotonic()
        while True:
            await asyncio.sleep(due_s - time.monotonic())
            await until(lambda: len(self._sending) < _MAX_IN_FLIGHT, ACK_TIMEOUT_S, "an ack")
            self._numbers += 1
            sending = asyncio.create_task(self._send(f"{self.name}-{self._numbers}", due_s))
            self._sending.add(sending)
            sending.add_done_callback(self._sending.discard)
            due_s += EVERY_S

    async def acked(self) -> None:
        """Wait for the acks of all messages that have been sent by now.

        Raises:
            TimeoutError: a message has no ack after `ACK_TIMEOUT_S`.
        """
        async with asyncio.timeout(ACK_TIMEOUT_S):
            await asyncio.gather(*self._sending)

    async def settle(self) -> int:
        """Wait for all deliveries; return how many acknowledged messages the reader did not get."""
        await self.acked()
        deadline_s = time.monotonic() + DELIVERY_TIMEOUT_S
        while (missing := len(self._acked - self._reader.received())) and time.monotonic() < deadline_s:
            await asyncio.sleep(0.1)
        return missing

    async def _send(self, key: str, due_s: float) -> None:
        """Send until acked, as our page does; a refusal ends it."""
        message = {"room": self.room, "client_message_id": key, "text": f"Hello, this is {key}."}
        while True:
            chat = await self._writer.chat()
            try:
                ack = await chat.call(socket_events.CHAT, message, timeout_s=ACK_TIMEOUT_S)
            except (AssertionError, WebSocketException):
                # The connection ended. The next one starts over.
                await asyncio.sleep(0.05)
                continue
            if ack["ok"]:
                self._acked.add(key)
                self.samples.append(Sample(due_s, time.monotonic() - due_s))
            else:
                self.refused[str(ack["code"])] += 1
            return


@asynccontextmanager
async def pairs(url: str, gateways: int, per_gateway: int) -> AsyncIterator[list[Pair]]:
    """Connect pairs whose writers are spread evenly over all gateways, and let them write until the block ends."""
    async with AsyncExitStack() as stack:
        found = [
            await _pair(stack, url, number, writer)
            for number, writer in enumerate(await _writers(stack, url, gateways, per_gateway), 1)
        ]
        writing = [asyncio.create_task(pair.write(), name=f"write as {pair.name}") for pair in found]
        try:
            yield found
        finally:
            for task in writing:
                await cancel_until_done(task)


@dataclass(frozen=True, slots=True)
class _Writer:
    member: Member
    room: str


async def _writers(stack: AsyncExitStack, url: str, gateways: int, per_gateway: int) -> Sequence[_Writer]:
    """Connect users until every gateway has its share. nginx chooses the gateway with the fewest connections."""
    by_gateway: dict[str, list[_Writer]] = {}
    for number in range(1, _PLACEMENTS + 1):
        address = f"127.0.1.{number}"
        http = await stack.enter_async_context(visitor(url, address=address))
        room = await _new_room(http, f"Pair {number}")
        member = await stack.enter_async_context(Member(url, room, cookie=cookie_header(http), address=address))
        by_gateway.setdefault(member.gateway, []).append(_Writer(member, room))
        if len(by_gateway) == gateways and all(len(found) >= per_gateway for found in by_gateway.values()):
            return [writer for found in by_gateway.values() for writer in found[:per_gateway]]
    raise AssertionError(f"the writers reached only {len(by_gateway)} of {gateways} gateways")


async def _pair(stack: AsyncExitStack, url: str, number: int, writer: _Writer) -> Pair:
    address = f"127.0.1.{100 + number}"
    http = await stack.enter_async_context(visitor(url, address=address))
    reader = await stack.enter_async_context(Member(url, writer.room, cookie=cookie_header(http), address=address))
    return Pair(f"pair-{number}", writer.room, writer.member, reader)


async def _new_room(http: httpx.AsyncClient, title: str) -> str:
    for _ in range(_ROOM_ATTEMPTS):
        answer = await http.post("/api/v1/rooms", json={"title": title, "max": _ROOM_MAX})
        if answer.is_success:
            return str(answer.json()["_id"])
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            break
        # MongoDB's first write after its start can take longer than a request may.
        await asyncio.sleep(1.0)
    raise AssertionError(f"a normal user could not create a room: {answer.status_code} {answer.text}")
