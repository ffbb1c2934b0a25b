"""A TCP proxy that delays, stalls, cuts or refuses connections on demand."""

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass, field
from typing import Literal, Self

from gifchat_cli.ports import LOOPBACK

Direction = Literal["up", "down"]
"""`up`: from the client to the server."""
BOTH: tuple[Direction, Direction] = ("up", "down")

_CHUNK_BYTES = 64 * 1024
_CHUNKS_HELD = 64
_CONNECT_TIMEOUT_S = 5.0
_END_TIMEOUT_S = 1.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class _Switch:
    """The current fault of one direction."""

    delay_s: float = 0.0
    flows: asyncio.Event = field(default_factory=asyncio.Event)
    drop_after_bytes: int | None = None

    def __post_init__(self) -> None:
        self.flows.set()


@dataclass(eq=False, slots=True)
class _Link:
    """A client's connection and the one to the target."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    left_bytes: dict[Direction, int | None]
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self, reset: bool) -> None:
        self.ended.set()
        for writer in (self.client, self.server):
            if reset:
                _reset(writer)
            else:
                writer.close()


class TcpProxy:
    """Forwards one loopback port to another.

    A fault applies to existing and new connections until `heal`.
    """

    def __init__(self, target_port: int, *, port: int = 0) -> None:
        """`port` 0 picks any free port."""
        self.target_port = target_port
        self.port = port
        self.forwarded_bytes: dict[Direction, int] = {"up": 0, "down": 0}
        """Bytes forwarded since the start, over all connections."""
        self.accepted = 0
        """Connections that were accepted since the start."""
        self._switches: dict[Direction, _Switch] = {"up": _Switch(), "down": _Switch()}
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._links)

    async def start(self) -> None:
        """Start listening."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accepted, LOOPBACK, self.port, reuse_address=True)
            self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Reset every connection and stop listening."""
        await self.refuse()
        self.cut()
        # asyncio reports cancelled handlers as errors, so only handlers that are still connecting are cancelled.
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_END_TIMEOUT_S)
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def delay(self, seconds: float, *directions: Direction) -> None:
        """Forward everything `seconds` later and in order; in both directions if none is given."""
        for direction in directions or BOTH:
            self._switches[direction].delay_s = seconds

    def stall(self, *directions: Direction) -> None:
        """Forward nothing, in both directions if none is given; existing and new connections stay open.

        Data sent meanwhile arrives after `heal`, if the connection still exists.
        """
        for direction in directions or BOTH:
            self._switches[direction].flows.clear()

    def cut(self, *, reset: bool = True) -> int:
        """Close every connection with RST, or with FIN (`reset=False`); return how many. New ones are accepted."""
        links = list(self._links)
        for link in links:
            link.end(reset)
        return len(links)

    async def refuse(self) -> None:
        """Refuse new connections (ECONNREFUSED); existing ones continue."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            await asyncio.sleep(0)

    def drop_after(self, count: int, direction: Direction) -> None:
        """Reset each connection after exactly `count` more bytes in `direction`."""
        self._switches[direction].drop_after_bytes = count
        for link in self._links:
            link.left_bytes[direction] = count

    async def heal(self) -> None:
        """Remove all faults, and accept connections again."""
        for direction, switch in self._switches.items():
            switch.delay_s = 0.0
            switch.drop_after_bytes = None
            switch.flows.set()
            for link in self._links:
                link.left_bytes[direction] = None
        await self.start()

    async def _accepted(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                from_server, server = await asyncio.open_connection(LOOPBACK, self.target_port)
        except (OSError, TimeoutError):
            _reset(client)
            return
        left: dict[Direction, int | None] = {name: switch.drop_after_bytes for name, switch in self._switches.items()}
        link = _Link(client, server, left)
        self._links.add(link)
        for writer in (client, server):
            # `drain` then waits for the kernel: a reset loses no forwarded data, and a stall blocks the sender.
            writer.transport.set_write_buffer_limits(0)
        pumps = [
            asyncio.create_task(self._pump(link, "up", reader, server)),
            asyncio.create_task(self._pump(link, "down", from_server, client)),
        ]
        ended = asyncio.create_task(link.ended.wait())
        done = asyncio.create_task(asyncio.wait(pumps))
        try:
            await asyncio.wait([done, ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (*pumps, ended, done):
                each.cancel()
            self._links.discard(link)
            link.end(reset=False)

    async def _pump(
        self, link: _Link, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Forward data up to and including the EOF. An error closes both directions."""
        switch = self._switches[direction]
        loop = asyncio.get_running_loop()
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_CHUNKS_HELD)

        async def read() -> None:
            data = b"-"
            while data:
                data = await reader.read(_CHUNK_BYTES)
                await held.put((loop.time() + switch.delay_s, data))

        reading = asyncio.create_task(read())
        reading.add_done_callback(lambda task: None if task.cancelled() or not task.exception() else link.end(True))
        try:
            while True:
                due, data = await held.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                await switch.flows.wait()
                if not data:
                    writer.write_eof()
                    return
                if not await self._forward(link, direction, writer, data):
                    return
        except (OSError, RuntimeError):
            link.end(reset=True)
        finally:
            reading.cancel()

    async def _forward(self, link: _Link, direction: Direction, writer: asyncio.StreamWriter, data: bytes) -> bool:
        """Forward one chunk; return False if that was the last one before a drop."""
        left = link.left_bytes[direction]
        if left is not None:
            data, link.left_bytes[direction] = data[:left], max(0, left - len(data))
        writer.write(data)
        await writer.drain()
        self.forwarded_bytes[direction] += len(data)
        if link.left_bytes[direction] == 0:
            link.end(reset=True)
            return False
        return True


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
