"""Polling guests fill one room: nginx's limit on open connections does not count them."""

import asyncio

import aiohttp

from abuse.attack import Attack, Stage
from abuse.guests import seat_guest
from abuse.http import attacker_http

AT_ONCE = 10
_RETRY_S = 0.05


async def run(stage: Stage) -> None:
    """Let guests join the normal users' room, one after the other."""

    async def keep_joining(http: aiohttp.ClientSession) -> None:
        while True:
            if not await seat_guest(stage, http, stage.room):
                await asyncio.sleep(_RETRY_S)

    async with attacker_http(stage) as http:
        await asyncio.gather(*(keep_joining(http) for _ in range(AT_ONCE)))


ATTACK = Attack(
    name="polling guests",
    what="guests join one room by polling, as many as it takes, and stay without a connection",
    run=run,
)
