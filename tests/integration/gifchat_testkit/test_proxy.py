import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from gifchat_testkit.proxy import TcpProxy
from gifchat_testkit.waiting import until

DEADLINE_S = 5.0


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """Start an echo server and yield its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def proxy(echo: int) -> AsyncIterator[TcpProxy]:
    async with TcpProxy(echo) as proxy:
        yield proxy


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, proxy: TcpProxy) -> "Client":
        return cls(*await asyncio.open_connection("127.0.0.1", proxy.port))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def receive(self, count: int) -> bytes:
        async with asyncio.timeout(DEADLINE_S):
            return await self.reader.readexactly(count)

    async def receive_until_end(self) -> bytes:
        """Return the data up to the end of the stream. Raises if the connection was reset."""
        async with asyncio.timeout(DEADLINE_S):
            return await self.reader.read()


async def test_the_proxy_forwards_both_ways_and_counts(proxy: TcpProxy) -> None:
    client = await Client.connect(proxy)
    data = bytes(range(256)) * 4_000
    sending = asyncio.create_task(client.send(data))
    assert await client.receive(len(data)) == data
    await sending
    assert proxy.forwarded_bytes == {"up": len(data), "down": len(data)}
    assert (proxy.connections, proxy.accepted) == (1, 1)
    client.writer.close()
    await until(lambda: proxy.connections == 0)


async def test_an_end_of_file_is_forwarded_and_the_answer_still_arrives(proxy: TcpProxy) -> None:
    client = await Client.connect(proxy)
    await client.send(b"last words")
    client.writer.write_eof()
    assert await client.receive_until_end() == b"last words"


async def test_delay_keeps_the_order_and_the_throughput(proxy: TcpProxy) -> None:
    proxy.delay(0.1)
    client = await Client.connect(proxy)
    started = time.monotonic()
    for number in range(20):
        await client.send(bytes([number]))
        await asyncio.sleep(0.005)
    assert await client.receive(20) == bytes(range(20))
    assert 0.2 <= time.monotonic() - started < 1.0


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_stalled_direction_delivers_after_healing(proxy: TcpProxy, direction: str) -> None:
    client = await Client.connect(proxy)
    await client.send(b"a")
    assert await client.receive(1) == b"a"
    proxy.stall("up" if direction == "up" else "down")
    await client.send(b"b")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await client.reader.readexactly(1)
    assert proxy.forwarded_bytes == {"up": 1 if direction == "up" else 2, "down": 1}
    await proxy.heal()
    assert await client.receive(1) == b"b"


async def test_a_stall_blocks_a_client_that_sends_much(proxy: TcpProxy) -> None:
    client = await Client.connect(proxy)
    # On a busy machine the proxy may accept so late that `cut` would miss the connection.
    await until(lambda: proxy.connections == 1)
    proxy.stall()
    pouring = asyncio.create_task(client.send(bytes(64 * 2**20)))
    await asyncio.wait({pouring}, timeout=0.5)
    assert not pouring.done()
    proxy.cut()
    await until(lambda: proxy.connections == 0)
    with pytest.raises(ConnectionError):
        await pouring


async def test_cut_resets_connections_and_accepts_new_ones(proxy: TcpProxy) -> None:
    clients = [await Client.connect(proxy) for _ in range(3)]
    for client in clients:
        await client.send(b"a")
        await client.receive(1)
    assert proxy.cut() == 3
    for client in clients:
        with pytest.raises(ConnectionResetError):
            await client.receive_until_end()
    again = await Client.connect(proxy)
    await again.send(b"b")
    assert await again.receive(1) == b"b"


async def test_cut_without_reset_sends_an_end_of_file(proxy: TcpProxy) -> None:
    client = await Client.connect(proxy)
    await client.send(b"a")
    await client.receive(1)
    proxy.cut(reset=False)
    assert await client.receive_until_end() == b""


async def test_refuse_keeps_connections_and_heals_on_the_same_port(proxy: TcpProxy) -> None:
    client = await Client.connect(proxy)
    await client.send(b"a")
    await client.receive(1)
    port = proxy.port
    await proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await Client.connect(proxy)
    await client.send(b"b")
    assert await client.receive(1) == b"b"
    await proxy.heal()
    assert proxy.port == port
    again = await Client.connect(proxy)
    await again.send(b"c")
    assert await again.receive(1) == b"c"


async def test_drop_after_forwards_exactly_that_many_bytes(proxy: TcpProxy) -> None:
    client = await Client.connect(proxy)
    await client.send(b"before")
    await client.receive(6)
    proxy.drop_after(10, "down")
    await client.send(b"0123456789abcdef")
    assert await client.receive(10) == b"0123456789"
    with pytest.raises(ConnectionResetError):
        await client.receive_until_end()
    # The limit applies to each new connection, until `heal`.
    again = await Client.connect(proxy)
    await again.send(b"0123456789abcdef")
    assert await again.receive(10) == b"0123456789"
    with pytest.raises(ConnectionResetError):
        await again.receive_until_end()
    await proxy.heal()
    healed = await Client.connect(proxy)
    await healed.send(b"0123456789abcdef")
    assert await healed.receive(16) == b"0123456789abcdef"


async def test_a_target_that_is_down_resets_the_client(proxy: TcpProxy) -> None:
    proxy.target_port = 1
    client = await Client.connect(proxy)
    with pytest.raises(ConnectionResetError):
        await client.receive(1)


async def test_stop_leaves_no_task_behind(echo: int) -> None:
    before = asyncio.all_tasks()
    async with TcpProxy(echo) as proxy:
        clients = [await Client.connect(proxy) for _ in range(3)]
        proxy.stall("down")
        for client in clients:
            await client.send(b"a")
        await until(lambda: proxy.connections == 3)
    assert proxy.connections == 0
    for client in clients:
        client.writer.transport.abort()
    await until(lambda: not any("TcpProxy" in str(task) for task in asyncio.all_tasks() - before))
