"""New users create rooms without a pause, so that nobody finds other users' rooms."""

import asyncio
from collections import Counter

import aiohttp

from abuse.attack import Attack, Stage
from abuse.http import ask, attacker_http, new_cookie
from gifchat_contracts import limits
from gifchat_testkit.clients import visitor

AT_ONCE = 8
_ROOMS_OF_A_USER = 20
_RETRY_S = 0.02


async def run(stage: Stage) -> None:
    """Create rooms."""
    async with attacker_http(stage) as http:
        await asyncio.gather(*(_keep_creating(stage, http) for _ in range(AT_ONCE)))


async def _keep_creating(stage: Stage, http: aiohttp.ClientSession) -> None:
    while True:
        headers = {"Cookie": await new_cookie(http) or ""}
        for number in range(_ROOMS_OF_A_USER):
            room = {"title": f"Buy now {number}"}
            if await ask(stage, http, "POST", "/api/v1/rooms", "rooms created", json=room, headers=headers) is None:
                await asyncio.sleep(_RETRY_S)


async def look_for_rooms(stage: Stage) -> Counter[str]:
    """Look for the room of normal users among the rooms with members."""
    async with visitor(stage.url, address="127.0.5.1") as http:
        answer = await http.get("/api/v1/rooms", params={"sort": "members", "limit": limits.ROOMS_PAGE_MAX})
        found = any(room["_id"] == stage.room for room in answer.json()["items"])
    return Counter() if found else Counter({"room not found in the lobby": 1})


ATTACK = Attack(
    name="room creation",
    what="new users of one address create rooms as fast as possible, and somebody looks for a room of normal users",
    run=run,
    victims=look_for_rooms,
)
