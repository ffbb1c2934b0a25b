"""WebSocket frames and clients at the byte level, which can also send invalid data."""

import asyncio
import base64
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import cycle
from operator import xor

DEADLINE_S = 10.0


def client_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    mask: bytes | None = b"\x12\x34\x56\x78",
    length_bytes: int | None = None,
) -> bytes:
    """Return one frame. `mask=None` leaves it unmasked. `length_bytes` (0, 2, 8) defaults to the shortest encoding."""
    size = len(payload)
    if length_bytes is None:
        length_bytes = 0 if size < 126 else 2 if size < 0x1_0000 else 8
    short = {0: size, 2: 126, 8: 127}[length_bytes]
    head = bytes((fin << 7 | reserved << 4 | opcode, (mask is not None) << 7 | short))
    head += size.to_bytes(length_bytes, "big") if length_bytes else b""
    if mask is None:
        return head + payload
    return head + mask + bytes(map(xor, payload, cycle(mask)))


def close_payload(code: int, reason: bytes = b"") -> bytes:
    """Return the payload of a close frame."""
    return code.to_bytes(2, "big") + reason


class RawWebSocket:
    """A TCP connection on which the client has requested a WebSocket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        self.head = head
        """The head of the HTTP response."""
        self._reader = reader
        self._writer = writer

    @property
    def status(self) -> int:
        """The HTTP status of the response."""
        return int(self.head.split(b" ")[1])

    async def send(self, data: bytes) -> None:
        """Send raw bytes."""
        self._writer.write(data)
        await self._writer.drain()

    async def text(self, text: str) -> None:
        """Send a text message."""
        await self.send(client_frame(1, text.encode()))

    async def exactly(self, count: int) -> bytes:
        """Read exactly `count` bytes."""
        return await self._reader.readexactly(count)

    async def frame(self) -> tuple[int, bytes]:
        """Read the next frame from the server. Returns its opcode and payload.

        Raises:
            AssertionError: the frame is fragmented, masked or uses an extension, which our server never does.
            IncompleteReadError: the connection has ended.
        """
        async with asyncio.timeout(DEADLINE_S):
            first, second = await self._reader.readexactly(2)
            assert first & 0xF0 == 0x80, "frames must be whole and without reserved bits"
            assert second & 0x80 == 0, "servers must not mask"
            size = second & 0x7F
            if size >= 126:
                size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8), "big")
            return first & 0x0F, await self._reader.readexactly(size)

    async def closed(self) -> int | None:
        """Read to the end and answer the close frame. Returns its code; None without a close frame."""
        code = None
        try:
            while True:
                opcode, payload = await self.frame()
                if opcode == 8:
                    code = int.from_bytes(payload[:2], "big") if payload else 1005
                    await self.send(client_frame(8, payload))
        except (asyncio.IncompleteReadError, ConnectionError):
            return code

    async def received(self) -> AsyncIterator[bytes]:
        """Yield raw bytes as they arrive, until the connection ends."""
        with suppress(ConnectionError):
            while data := await self._reader.read(65_536):
                yield data

    async def ended(self) -> None:
        """Wait until the server has closed the TCP connection. Discards all data."""
        async with asyncio.timeout(DEADLINE_S):
            try:
                while await self._reader.read(65_536):
                    pass
            except ConnectionResetError:
                pass

    async def body(self) -> bytes:
        """Read everything after the head: the body of a refusal."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._reader.read()

    def half_close(self) -> None:
        """Send EOF. The server can still send."""
        self._writer.write_eof()

    def abort(self) -> None:
        """Abort the TCP connection without a close frame."""
        self._writer.transport.abort()


@asynccontextmanager
async def raw_websocket(
    port: int,
    target: str,
    headers: Mapping[str, str | None] | None = None,
    *,
    method: str = "GET",
    receive_buffer: int | None = None,
    address: str | None = None,
) -> AsyncIterator[RawWebSocket]:
    """Request a WebSocket. `headers` are added to the defaults; the value None removes one.

    `address`: the loopback address that the client connects from.
    """
    all_headers: dict[str, str | None] = {
        "Host": f"127.0.0.1:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Version": "13",
        **(headers or {}),
    }
    connected = socket.socket()
    connected.setblocking(False)
    if address is not None:
        connected.bind((address, 0))
    if receive_buffer is not None:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await asyncio.get_running_loop().sock_connect(connected, ("127.0.0.1", port))
    limit = 2**16 if receive_buffer is None else receive_buffer
    reader, writer = await asyncio.open_connection(sock=connected, limit=limit)
    try:
        lines = [f"{name}: {value}" for name, value in all_headers.items() if value is not None]
        writer.write("\r\n".join((f"{method} {target} HTTP/1.1", *lines, "", "")).encode())
        async with asyncio.timeout(DEADLINE_S):
            head = await reader.readuntil(b"\r\n\r\n")
        yield RawWebSocket(reader, writer, head)
    finally:
        writer.transport.abort()
