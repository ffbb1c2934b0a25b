"""A hundred guests write into the room of normal users."""

import asyncio
import itertools
import json
import re
from collections.abc import Iterator

from abuse.attack import Attack, Stage
from abuse.sockets import websocket
from gifchat_chassis.background_tasks import cancel_until_done
from gifchat_testkit.raw_websocket import RawWebSocket

GUESTS = 100
EVERY_S = 0.43
"""The interval of one guest. Together they write 233 messages per second."""
_CODE = re.compile(rb'"ok":false,"code":"([a-z_]+)"')
_RECONNECT_S = 0.5


async def run(stage: Stage) -> None:
    """Join with all guests, and write."""
    numbers = itertools.count(1)
    await asyncio.gather(*(_guest(stage, numbers) for _ in range(GUESTS)))


async def _guest(stage: Stage, numbers: Iterator[int]) -> None:
    while True:
        try:
            async with websocket(stage) as socket:
                if socket.status == 101:
                    reading = asyncio.create_task(_count(stage, socket))
                    try:
                        await _write(stage, socket, numbers, reading)
                    finally:
                        await cancel_until_done(reading)
                else:
                    stage.findings[f"handshakes refused with {socket.status}"] += 1
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            stage.findings["connections reset"] += 1
        await asyncio.sleep(_RECONNECT_S)


async def _write(stage: Stage, socket: RawWebSocket, numbers: Iterator[int], reading: asyncio.Task[None]) -> None:
    await socket.text("40/chat,")
    await socket.text("42/chat,0" + json.dumps(["join", {"room": stage.room}]))
    while not reading.done():
        number = next(numbers)
        message = {"room": stage.room, "client_message_id": f"flood-{number}", "text": f"Look at me {number}"}
        await socket.text(f"42/chat,1{json.dumps(['chat', message])}")
        stage.findings["messages sent"] += 1
        await asyncio.sleep(EVERY_S)


async def _count(stage: Stage, socket: RawWebSocket) -> None:
    """Count acks until the connection ends, without parsing: reading is most of what this attack costs."""
    async for data in socket.received():
        stage.findings["messages taken"] += data.count(b'43/chat,1[{"ok":true')
        for code in _CODE.findall(data):
            stage.findings[f"refused with {code.decode()}"] += 1


ATTACK = Attack(
    name="room flood",
    what=f"{GUESTS} guests write {GUESTS / EVERY_S:.0f} messages per second into the room of a normal pair",
    run=run,
)
