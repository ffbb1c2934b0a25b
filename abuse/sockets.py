"""WebSockets of an attacker, at the byte level."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from abuse.attack import Stage
from gifchat_chassis.background_tasks import cancel_until_done
from gifchat_testkit.raw_websocket import RawWebSocket, client_frame, raw_websocket

_TARGET = "/socket.io/?EIO=4&transport=websocket"
_RECONNECT_S = 0.1


async def flood(stage: Stage, data: bytes, *, greeting: tuple[str, ...] = (), cookie: str | None = None) -> None:
    """Send `data` over and over as fast as the server takes it; connect again whenever the connection ends."""
    found = stage.findings
    while True:
        try:
            async with websocket(stage, cookie) as socket:
                found["connections"] += 1
                if socket.status == 101:
                    for packet in greeting:
                        await socket.text(packet)
                    await _send_until_closed(stage, socket, data)
                else:
                    found[f"handshakes refused with {socket.status}"] += 1
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            found["connections reset"] += 1
        await asyncio.sleep(_RECONNECT_S)


async def _send_until_closed(stage: Stage, socket: RawWebSocket, data: bytes) -> None:
    async def send() -> None:
        with suppress(OSError):
            while True:
                await socket.send(data)
                stage.findings["bytes sent"] += len(data)
                # `send` waits only for a server that stops reading, and the other connections must get their turn.
                await asyncio.sleep(0)

    sending = asyncio.create_task(send())
    try:
        code = await _close_code(socket)
        stage.findings[f"closed with {code or 'no code'}"] += 1
    finally:
        await cancel_until_done(sending)


async def _close_code(socket: RawWebSocket) -> int | None:
    """Read until the server closes the connection."""
    while True:
        with suppress(TimeoutError):
            return await socket.closed()


@asynccontextmanager
async def websocket(stage: Stage, cookie: str | None = None) -> AsyncIterator[RawWebSocket]:
    """Request a WebSocket from the attacker's address. The answer may be a refusal."""
    headers = {"Cookie": cookie} if cookie else {}
    async with raw_websocket(stage.port, _TARGET, headers, address=stage.address) as socket:
        yield socket


async def gateway_cookie(stage: Stage) -> str:
    """Return the cookie with which nginx routes all connections to one gateway."""
    async with raw_websocket(stage.port, _TARGET, address=stage.address) as socket:
        for line in socket.head.decode("latin-1").split("\r\n"):
            name, _, value = line.partition(": ")
            if name.lower() == "set-cookie" and value.startswith("gifchat_gateway="):
                return value.partition(";")[0]
    return ""


def frames(*packets: str, at_least_bytes: int = 64 * 1024) -> bytes:
    """Return WebSocket frames with these packets in turn, in one piece for a single write."""
    once = b"".join(client_frame(1, packet.encode()) for packet in packets)
    return once * (1 + at_least_bytes // len(once))
