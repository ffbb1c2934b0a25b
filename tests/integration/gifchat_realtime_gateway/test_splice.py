"""Two TCP connections that a relay has spliced, on real sockets."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import cast

import pytest

from gifchat_realtime_gateway.engine import splice
from gifchat_realtime_gateway.engine.splice import Side

pytestmark = pytest.mark.timeout(20)
MUCH = b"x" * (32 * 1024 * 1024)
"""More than the buffers of the kernel and both transports hold."""


@dataclass
class Ends:
    """The client's and the server's end of the spliced connections."""

    client: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    server: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    near: Side
    lost: asyncio.Event


@asynccontextmanager
async def spliced(first: bytes = b"") -> AsyncIterator[Ends]:
    """A client and a server, connected by a relay that begins by sending `first` to the server."""
    loop = asyncio.get_running_loop()
    lost = asyncio.Event()
    halves: asyncio.Queue[Side] = asyncio.Queue()
    accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    def near() -> Side:
        half = Side(lost.set)
        halves.put_nowait(half)
        return half

    async with AsyncExitStack() as stack:
        relay = await loop.create_server(near, "127.0.0.1", 0)
        stack.callback(relay.close)
        server = await asyncio.start_server(lambda *ends: accepted.put_nowait(ends), "127.0.0.1", 0)
        stack.callback(server.close)
        client = await asyncio.open_connection("127.0.0.1", relay.sockets[0].getsockname()[1])
        stack.callback(client[1].close)
        half = await halves.get()
        client[1].write(b"early,")
        await client[1].drain()
        _, far = await loop.create_connection(Side, "127.0.0.1", server.sockets[0].getsockname()[1])
        half.join(far, first)
        ends = await accepted.get()
        stack.callback(ends[1].close)
        yield Ends(client, ends, half, lost)


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    async with spliced(b"first,") as ends:
        yield ends


async def test_bytes_arrive_in_order_in_both_directions(ends: Ends) -> None:
    ends.client[1].write(b"late")
    assert await ends.server[0].readexactly(16) == b"first,early,late"
    ends.server[1].write(b"answer")
    assert await ends.client[0].readexactly(6) == b"answer"


async def test_a_slow_reader_pauses_the_writer_and_loses_nothing(ends: Ends) -> None:
    await ends.server[0].readexactly(12)
    ends.client[1].write(MUCH)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await ends.client[1].drain()
    assert len(await ends.server[0].readexactly(len(MUCH))) == len(MUCH)
    await ends.client[1].drain()


async def test_a_half_close_leaves_the_other_direction_open(ends: Ends) -> None:
    ends.client[1].write_eof()
    assert await ends.server[0].read() == b"first,early,"
    ends.server[1].write(b"still")
    assert await ends.client[0].readexactly(5) == b"still"
    assert not ends.lost.is_set()
    ends.server[1].close()
    assert await ends.client[0].read() == b""
    await ends.lost.wait()


@pytest.mark.parametrize("side", ["client", "server"])
async def test_a_lost_side_closes_the_other(ends: Ends, side: str) -> None:
    await ends.server[0].readexactly(12)
    gone, left = (ends.client, ends.server) if side == "client" else (ends.server, ends.client)
    # Reset the connection, because a plain close would look like a half-close.
    gone[1].get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone[1].transport.abort()
    with suppress(ConnectionResetError):
        assert await left[0].read() == b""
    await ends.lost.wait()


async def test_closing_the_relay_closes_both_sides_after_their_buffered_data(ends: Ends) -> None:
    ends.server[1].write(b"last")
    assert await ends.client[0].readexactly(4) == b"last"
    ends.near.close()
    assert await ends.client[0].read() == b""
    assert await ends.server[0].read() == b"first,early,"
    await ends.lost.wait()


@pytest.mark.parametrize("side", ["client", "server"])
async def test_a_side_that_stays_open_after_a_half_close_is_aborted(
    ends: Ends, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splice, "LINGER_S", 0.1)
    await ends.server[0].readexactly(12)
    (ends.client if side == "client" else ends.server)[1].write_eof()
    await ends.lost.wait()


async def test_a_side_that_does_not_read_its_backlog_is_aborted(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splice, "BACKLOG_TIMEOUT_S", 0.5)
    await ends.server[0].readexactly(12)
    cast("asyncio.Transport", ends.client[1].transport).pause_reading()
    ends.server[1].write(MUCH)
    await asyncio.sleep(0)
    ends.server[1].transport.abort()
    await ends.lost.wait()


async def test_joining_a_closed_side_closes_the_other() -> None:
    loop = asyncio.get_running_loop()
    accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    server = await asyncio.start_server(lambda *ends: accepted.put_nowait(ends), "127.0.0.1", 0)
    address = server.sockets[0].getsockname()[:2]
    async with server:
        _, near = await loop.create_connection(Side, *address)
        _, far = await loop.create_connection(Side, *address)
        near.close(at_once=True)
        near.join(far, b"first")
        for _ in range(2):
            reader, writer = await accepted.get()
            assert await reader.read() == b""
            writer.close()
