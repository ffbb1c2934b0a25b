"""permessage-deflate on the wire: if enabled, group events are compressed for clients that negotiated it."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from gifchat_realtime_gateway.engine.deflate import deflate, inflate
from gifchat_testkit.engine_worlds import World, chat_world, served
from gifchat_testkit.raw_websocket import client_frame, raw_websocket
from gifchat_testkit.waiting import until

TARGET = "/socket.io/?EIO=4&transport=websocket"
AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
LONG = "the same again, " * 30
DEADLINE_S = 10.0


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with served(chat_world(ping_interval_s=25.0, ping_timeout_s=20.0, deflate=True)) as world:
        yield world


@asynccontextmanager
async def joined_client(world: World, compression: str | None) -> AsyncIterator[ClientConnection]:
    """A client of the `websockets` package that has joined the namespace and its group."""
    async with websockets.connect(f"ws://127.0.0.1:{world.port}{TARGET}", compression=compression) as socket:
        assert [extension.name for extension in socket.protocol.extensions] == (
            ["permessage-deflate"] if compression else []
        )
        await receive(socket, "0")
        await socket.send("40")
        await receive(socket, "40")
        await receive(socket, '42["auth"')
        await socket.send('420["enter"]')
        await receive(socket, "430[true]")
        yield socket


async def receive(socket: ClientConnection, start: str) -> str:
    async with asyncio.timeout(DEADLINE_S):
        text = await socket.recv()
    assert isinstance(text, str)
    assert text.startswith(start)
    return text


async def test_clients_with_and_without_compression_get_the_same_events(world: World) -> None:
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(joined_client(world, how)) for how in ("deflate", None, "deflate", None)
        ]
        for speaker in clients[:2]:
            for text in (LONG, "short", "가" * 200):
                await speaker.send(f'42["say","{text}"]')
                for client in clients:
                    assert json.loads((await receive(client, '42["said"'))[2:]) == ["said", text]


async def test_only_group_events_are_compressed(world: World) -> None:
    async with raw_websocket(world.port, TARGET, {"Sec-WebSocket-Extensions": "permessage-deflate"}) as socket:
        assert f"\r\nsec-websocket-extensions: {AGREED}\r\n".encode() in socket.head
        for packet in ("40", '420["enter"]'):
            await socket.send(client_frame(1, deflate(packet.encode()), reserved=4))
        assert [(await socket.frame())[1][:2] for _ in range(4)] == [b"0{", b"40", b"42", b"43"]
        await socket.text(f'42["say","{LONG}"]')
        async with asyncio.timeout(DEADLINE_S):
            first, second = await socket.exactly(2)
            compressed = await socket.exactly(second)
    event = f'42["said","{LONG}"]'.encode()
    assert first == 0xC1
    assert len(compressed) < len(event) / 5
    assert inflate(compressed, 65_536) == event


async def test_an_invalid_compressed_message_closes_the_connection(world: World) -> None:
    for payload, code in ((b"\xff\xff", 1007), (deflate(bytes(100_000)), 1009)):
        async with raw_websocket(world.port, TARGET, {"Sec-WebSocket-Extensions": "permessage-deflate"}) as socket:
            await socket.send(client_frame(1, payload, reserved=4))
            assert await socket.closed() == code


async def test_decompression_is_limited_per_turn_and_does_not_block_others(world: World) -> None:
    """About 200 kB on the wire would become 120 MB at once."""
    message = client_frame(1, deflate(b'42["message","' + b"x" * 60_000 + b'"]'), reserved=4)
    async with (
        raw_websocket(world.port, TARGET, {"Sec-WebSocket-Extensions": "permessage-deflate"}) as flood,
        joined_client(world, None) as other,
    ):
        sid = json.loads((await flood.frame())[1][1:])["sid"]
        await flood.text("40")
        await flood.text('42["later",1,"first"]')
        connection = world.engine.find(sid)
        assert connection is not None
        await flood.send(message * 2_000)
        await until(lambda: len(connection._inbox or ()) > 32)
        await other.send('42["message","?"]')
        await receive(other, '42["message-back","?"]')
        assert len(connection._inbox or ()) < 40
        flood.abort()


async def test_an_upgraded_connection_may_use_compression(world: World) -> None:
    async with httpx.AsyncClient(base_url=world.url, timeout=DEADLINE_S) as http:
        handshake = await http.get("/socket.io/", params={"EIO": "4", "transport": "polling"})
        sid = json.loads(handshake.text[1:])["sid"]
        connection = world.engine.find(sid)
        assert connection is not None
        assert not connection.deflates
        async with websockets.connect(f"ws://127.0.0.1:{world.port}{TARGET}&sid={sid}") as socket:
            await socket.send("2probe")
            await receive(socket, "3probe")
            await socket.send("5")
            await until(lambda: connection.deflates)


async def test_without_an_offer_compression_is_not_negotiated(world: World) -> None:
    async with raw_websocket(world.port, TARGET) as socket:
        assert b"sec-websocket-extensions" not in socket.head.lower()
        await socket.send(client_frame(1, deflate(b"40"), reserved=4))
        assert await socket.closed() == 1002
    await until(lambda: world.engine.connections == {})
