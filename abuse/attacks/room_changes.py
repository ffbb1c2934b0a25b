"""An owner changes titles and passwords without a pause: titles cost the lobby events, and passwords cost hashes."""

import asyncio
import itertools

import aiohttp

from abuse.attack import Attack, Stage
from abuse.http import ask, attacker_http, new_cookie

TITLES_AT_ONCE = 6
PASSWORDS_AT_ONCE = 4
_RETRY_S = 0.02


async def run(stage: Stage) -> None:
    """Change a few rooms over and over."""
    async with attacker_http(stage) as http:
        cookie = await new_cookie(http)
        headers = {"Cookie": cookie or ""}
        numbers = itertools.count(1)

        async def change(what: str) -> None:
            room = await _room(stage, http, headers)
            while True:
                change = {what: f"Change number {next(numbers)}"}
                if (
                    await ask(
                        stage, http, "PATCH", f"/api/v1/rooms/{room}", f"{what}s changed", json=change, headers=headers
                    )
                    is None
                ):
                    await asyncio.sleep(_RETRY_S)

        await asyncio.gather(
            *(change("title") for _ in range(TITLES_AT_ONCE)), *(change("password") for _ in range(PASSWORDS_AT_ONCE))
        )


async def _room(stage: Stage, http: aiohttp.ClientSession, headers: dict[str, str]) -> str:
    while (
        room := await ask(stage, http, "POST", "/api/v1/rooms", "rooms", json={"title": "One"}, headers=headers)
    ) is None:
        await asyncio.sleep(_RETRY_S)
    return str(room["_id"])


ATTACK = Attack(
    name="room changes",
    what="an owner changes the titles and passwords of ten rooms as fast as possible",
    run=run,
)
