"""WebSocket frames and clients of bare bytes: they can say what no library would."""

import asyncio
import base64
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
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
    """One frame; without `mask` it is not masked, and `length_bytes` (0, 2, 8) is chosen where it is not given."""
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
    """What is in a close frame."""
    return code.to_bytes(2, "big") + reason


class RawWebSocket:
    """A TCP connection that has asked for a WebSocket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        self.head = head
        """The answer to the request, with its headers."""
        self._reader = reader
        self._writer = writer

    @property
    def status(self) -> int:
        """The answer's status."""
        return int(self.head.split(b" ")[1])

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def text(self, text: str) -> None:
        """Send a text message."""
        await self.send(client_frame(1, text.encode()))

    async def exactly(self, count: int) -> bytes:
        """The next so many bytes from the server, whatever they are."""
        return await self._reader.readexactly(count)

    async def frame(self) -> tuple[int, bytes]:
        """The next frame from the server: its opcode and payload.

        Raises:
            AssertionError: it is fragmented, masked, or uses extensions, which this server never does.
            IncompleteReadError: the connection ended.
        """
        async with asyncio.timeout(DEADLINE_S):
            first, second = await self._reader.readexactly(2)
            assert first & 0xF0 == 0x80, "whole, and no reserved bits"
            assert second & 0x80 == 0, "a server masks nothing"
            size = second & 0x7F
            if size >= 126:
                size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8), "big")
            return first & 0x0F, await self._reader.readexactly(size)

    async def closed(self) -> int | None:
        """Read to the end, and answer a close frame; its code, None where there was none."""
        code = None
        try:
            while True:
                opcode, payload = await self.frame()
                if opcode == 8:
                    code = int.from_bytes(payload[:2], "big") if payload else 1005
                    await self.send(client_frame(8, payload))
        except (asyncio.IncompleteReadError, ConnectionError):
            return code

    async def ended(self) -> None:
        """Return when the server has closed the TCP connection; what comes before is thrown away."""
        async with asyncio.timeout(DEADLINE_S):
            try:
                while await self._reader.read(65_536):
                    pass
            except ConnectionResetError:
                pass

    async def body(self) -> bytes:
        """What follows the head, to the end: of a refusal."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._reader.read()

    def half_close(self) -> None:
        """Send nothing any more."""
        self._writer.write_eof()

    def abort(self) -> None:
        """Go without a word."""
        self._writer.transport.abort()


@asynccontextmanager
async def raw_websocket(
    port: int,
    target: str,
    headers: Mapping[str, str | None] | None = None,
    *,
    method: str = "GET",
    receive_buffer: int | None = None,
) -> AsyncIterator[RawWebSocket]:
    """Ask for a WebSocket; `headers` are added to the usual ones, and None takes one away."""
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
