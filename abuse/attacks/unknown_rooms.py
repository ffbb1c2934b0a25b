"""Connections join rooms that do not exist. Each one stays within its budget, and a new one follows."""

import asyncio
import json
import secrets

from websockets.exceptions import WebSocketException

from abuse.attack import Attack, Stage
from gifchat_testkit.raw_chat import RawChat, raw_chat

AT_ONCE = 10
JOINS = 30
"""Joins of one connection: less than the burst of its budget."""


async def run(stage: Stage) -> None:
    """Connect, join, leave, over and over."""
    await asyncio.gather(*(_keep_joining(stage) for _ in range(AT_ONCE)))


async def _keep_joining(stage: Stage) -> None:
    while True:
        try:
            async with raw_chat(stage.url, address=stage.address) as chat:
                stage.findings["connections"] += 1
                await asyncio.gather(*(_join(stage, chat) for _ in range(JOINS)))
        except (AssertionError, OSError, TimeoutError, WebSocketException, json.JSONDecodeError) as error:
            stage.findings[type(error).__name__] += 1
            await asyncio.sleep(0.1)


async def _join(stage: Stage, chat: RawChat) -> None:
    try:
        ack = await chat.call("join", {"room": secrets.token_hex(12)})
    except (AssertionError, WebSocketException):
        stage.findings["joins without an ack"] += 1
    else:
        stage.findings[f"joins refused with {ack['code']}"] += 1


ATTACK = Attack(
    name="unknown rooms",
    what=f"{AT_ONCE} connections at once each join {JOINS} rooms that do not exist, then connect again",
    run=run,
)
