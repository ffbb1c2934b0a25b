"""Guests fill the rooms of a few owners, and the owners try to enter their rooms."""

import asyncio
import itertools
from collections import Counter
from contextlib import AsyncExitStack

import aiohttp

from abuse.attack import Attack, Prepared, Stage
from abuse.guests import seat_guest
from abuse.http import attacker_http
from gifchat_contracts import socket_events
from gifchat_testkit.clients import cookie_header, visitor
from gifchat_testkit.raw_chat import raw_chat

ROOMS = 39
_OWNERS = 3
_AT_ONCE = 10
_RETRY_S = 0.05


def _address(owner: int) -> str:
    return f"127.0.4.{1 + owner}"


async def prepare(stage: Stage) -> Prepared:
    """Create rooms of ten by a few owners."""
    async with AsyncExitStack() as stack:
        owners = [
            await stack.enter_async_context(visitor(stage.url, address=_address(owner))) for owner in range(_OWNERS)
        ]
        rooms: list[tuple[str, int]] = []
        for number in range(ROOMS):
            answer = await owners[number % _OWNERS].post("/api/v1/rooms", json={"title": f"Ten {number}", "max": 10})
            answer.raise_for_status()
            rooms.append((answer.json()["_id"], number % _OWNERS))
        return {"rooms": rooms, "cookies": [cookie_header(owner) for owner in owners]}


async def run(stage: Stage) -> None:
    """Let guests join all rooms in turn."""
    rooms = itertools.cycle(room for room, _ in stage.prepared["rooms"])

    async def keep_joining(http: aiohttp.ClientSession) -> None:
        while True:
            if not await seat_guest(stage, http, next(rooms)):
                await asyncio.sleep(_RETRY_S)

    async with attacker_http(stage) as http:
        await asyncio.gather(*(keep_joining(http) for _ in range(_AT_ONCE)))


async def owners_enter(stage: Stage) -> Counter[str]:
    """Let every owner enter and leave each of their rooms."""
    refused: Counter[str] = Counter()
    for owner, cookie in enumerate(stage.prepared["cookies"]):
        async with raw_chat(stage.url, cookie, address=_address(owner)) as chat:
            for room, its_owner in stage.prepared["rooms"]:
                if its_owner != owner:
                    continue
                ack = await chat.call(socket_events.JOIN, {"room": room})
                if not ack["ok"]:
                    refused[f"owner refused with {ack['code']}"] += 1
                await chat.call(socket_events.LEAVE, {"room": room})
                await asyncio.sleep(0.25)  # A connection has 10 events per second.
    return refused


ATTACK = Attack(
    name="seats",
    what=f"guests join {ROOMS} rooms of 10 until all are full, and the owners enter their rooms",
    prepare=prepare,
    run=run,
    victims=owners_enter,
)
