"""What do a poll and a delivery cost when they go through a gateway other than the session's?"""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import uvloop
from redis.asyncio import Redis

from benchmarks.harness import contenders, machine
from benchmarks.harness.fan_out import Log
from benchmarks.harness.load import RunFailedError
from benchmarks.harness.rounds import Figure, Options, Result, interleaved
from benchmarks.harness.testbed import open_testbed
from gifchat_contracts import events, keys, socket_events
from gifchat_contracts.codec import Frame, Kind, encode
from gifchat_realtime_gateway.domain.session import EVENT_BURST
from gifchat_realtime_gateway.engine.websocket import text_frame
from gifchat_testkit.raw_websocket import RawWebSocket, client_frame, raw_websocket

TITLE = "Relayed polls and WebSockets, compared with direct ones"
POLLERS = 50
EXCHANGES = EVENT_BURST - 1
"""Messages per poller and round: the gateway's burst limit, minus the packet that opens the namespace."""
READERS = 100
EVENTS = 400
WARM_UP = 20
IDLE_S = 1.0
POLL = ("POST and poll, direct", "POST and poll, relayed")
DELIVERY = ("delivery to a WebSocket, direct", "delivery to a WebSocket, relayed")

Spent = Callable[[], float]
"""CPU time of both gateways, in seconds."""


def run(options: Options, log: Log) -> Result:
    """Measure two gateways: the first has all sessions, and clients talk to either one."""
    columns = {"us": "µs of CPU, both gateways together", "times": "× direct"}
    result = Result("relay", TITLE, columns)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="gifchat-bench-")))
        testbed = stack.enter_context(open_testbed(folder))
        owner, other = testbed.start(contenders.OURS), testbed.start(contenders.OURS)

        def spent() -> float:
            return machine.cpu_s(owner.pid) + machine.cpu_s(other.pid)

        measures = {}
        for label, through in zip(POLL, (owner, other), strict=True):
            pollers = options.size(POLLERS, 10)
            measures[label] = partial(_measured, partial(_poll, owner.port, through.port, pollers, spent))
        for label, through in zip(DELIVERY, (owner, other), strict=True):
            count = options.size(EVENTS, 50)
            measures[label] = partial(
                _measured, partial(_deliver, testbed.valkey.url, owner.port, through.port, count, spent)
            )
        result.rows = interleaved(measures, options.rounds, log)
    for direct, relayed in (POLL, DELIVERY):
        pairs = zip(result.rows[relayed]["us"].values, result.rows[direct]["us"].values, strict=True)
        result.rows[relayed]["times"] = Figure(tuple(one / other for one, other in pairs))
    result.notes.append(
        f"{POLLERS} clients at once send a `probe` by POST and poll its ack. A delivery is a lobby event that reaches "
        f"one of {READERS} WebSockets, each upgraded from polling. The next event is published once all clients have "
        "received the previous one. Idle CPU time is subtracted. Both gateways share a core."
    )
    return result


def _measured(work: Callable[[], Coroutine[Any, Any, float]]) -> Mapping[str, float]:
    """Run on the load generator's core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {machine.LOAD_CORE})
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return {"us": runner.run(work()) * 1e6}
    finally:
        os.sched_setaffinity(0, cores)


async def _cost(work: Callable[[], Awaitable[None]], spent: Spent) -> float:
    """Return the gateways' CPU time for `work`, without their idle CPU time."""
    began, before = time.monotonic(), spent()
    await asyncio.sleep(IDLE_S)
    idle = (spent() - before) / (time.monotonic() - began)
    began, before = time.monotonic(), spent()
    await work()
    return spent() - before - idle * (time.monotonic() - began)


class Poller:
    """A polling session in the lobby, with a minimal HTTP client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sid: str) -> None:
        self.target = f"/socket.io/?EIO=4&transport=polling&sid={sid}"
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, owner: int, through: int) -> Self:
        """Open a session at one gateway, and continue through another."""
        first = cls(*await asyncio.open_connection("127.0.0.1", owner), "")
        opened = await first.ask("GET", "/socket.io/?EIO=4&transport=polling")
        first.close()
        poller = cls(*await asyncio.open_connection("127.0.0.1", through), json.loads(opened[1:])["sid"])
        await poller.post("40/room,")
        connected = await poller.ask("GET", poller.target)
        if not connected.startswith("40/room,"):
            raise RunFailedError(connected)
        return poller

    async def ask(self, method: str, target: str, body: str = "") -> str:
        """Send a request and read its answer."""
        length = f"content-length: {len(body)}\r\n" if body else ""
        self._writer.write(f"{method} {target} HTTP/1.1\r\nhost: gateway\r\n{length}\r\n{body}".encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        length_line = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        answer = (await self._reader.readexactly(int(length_line.partition(b":")[2]))).decode()
        if not head.startswith(b"HTTP/1.1 200"):
            raise RunFailedError(f"{head.decode()}{answer}")
        return answer

    async def post(self, packet: str) -> None:
        await self.ask("POST", self.target, packet)

    async def exchange(self, times: int) -> None:
        """Send `times` messages, and poll the ack of each."""
        for number in range(times):
            await self.post(f'42/room,{number}["probe"]')
            answer = await self.ask("GET", self.target)
            if not answer.startswith(f'43/room,{number}[{{"ok":true'):
                raise RunFailedError(answer)

    def close(self) -> None:
        self._writer.close()


async def _poll(owner: int, through: int, count: int, spent: Spent) -> float:
    """Return the cost of one exchange of a new session."""
    pollers = [await Poller.open(owner, through) for _ in range(count)]

    async def exchange_all() -> None:
        await asyncio.gather(*(poller.exchange(EXCHANGES) for poller in pollers))

    cost = await _cost(exchange_all, spent) / (count * EXCHANGES)
    for poller in pollers:
        await poller.post("1")
        poller.close()
    return cost


async def _deliver(redis_url: str, owner: int, through: int, count: int, spent: Spent) -> float:
    """Return the cost of one event for one reader."""
    body = events.body(socket_events.NEW_ROOM, {"_id": "0" * 24, "title": "A room", "max": 10, "private": False})
    message = encode(Frame(Kind.NEW_ROOM, body))
    size = len(text_frame(b"42/room," + body))
    async with AsyncExitStack() as stack, Redis.from_url(redis_url) as redis:
        readers = [await _upgraded(stack, owner, through) for _ in range(READERS)]

        async def deliver(times: int) -> None:
            for _ in range(times):
                await redis.spublish(keys.LOBBY_CHANNEL, message)
                got = await asyncio.gather(*(reader.exactly(size) for reader in readers))
                if not all(frame.endswith(body) for frame in got):
                    raise RunFailedError("a reader received something else")

        await deliver(WARM_UP)
        return await _cost(partial(deliver, count), spent) / (count * READERS)


async def _upgraded(stack: AsyncExitStack, owner: int, through: int) -> RawWebSocket:
    """Open a session at one gateway, and upgrade it to a WebSocket through another."""
    poller = await Poller.open(owner, through)
    target = poller.target.replace("transport=polling", "transport=websocket")
    socket = await stack.enter_async_context(raw_websocket(through, target))
    if socket.status != 101:
        raise RunFailedError(f"no upgrade: {socket.head!r}")
    await socket.text("2probe")
    if await socket.frame() != (1, b"3probe"):
        raise RunFailedError("the probe was not answered")
    await socket.send(client_frame(1, b"5"))
    poller.close()
    return socket
