"""Users of one address upload small files that contain large pictures."""

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import aiohttp

from abuse.attack import Attack, Prepared, Stage
from abuse.http import ask, attacker_http, new_cookie
from gifchat_testkit.pictures import picture

AT_ONCE = 111
SIDE = 4_096
FRAMES = 11
USERS = 20
_RETRY_S = 0.1


async def prepare(_: Stage) -> Prepared:
    """Create a picture of 185 million pixels, as hexadecimal digits."""
    return {"picture": (await asyncio.to_thread(picture, "gif", SIDE, SIDE, FRAMES)).hex()}


async def run(stage: Stage) -> None:
    """Upload."""
    numbers = itertools.count(1)
    data = bytes.fromhex(stage.prepared["picture"])
    async with attacker_http(stage) as http:
        owners = [owner for _ in range(USERS) if (owner := await _owner(stage, http)) is not None]
        await asyncio.gather(
            *(_keep_uploading(stage, http, owners[task % len(owners)], data, numbers) for task in range(AT_ONCE))
        )


@dataclass(frozen=True, slots=True)
class _Owner:
    headers: dict[str, str]
    room: str


async def _owner(stage: Stage, http: aiohttp.ClientSession) -> _Owner | None:
    headers = {"Cookie": await new_cookie(http) or ""}
    room = await ask(stage, http, "POST", "/api/v1/rooms", "rooms", json={"title": "Big"}, headers=headers)
    return None if room is None else _Owner(headers, room["_id"])


async def _keep_uploading(
    stage: Stage, http: aiohttp.ClientSession, owner: _Owner, data: bytes, numbers: Iterator[int]
) -> None:
    while True:
        form = aiohttp.FormData()
        form.add_field("gif", _different(data, next(numbers)), filename="big.gif", content_type="image/gif")
        path = f"/api/v1/rooms/{owner.room}/gifs"
        if await ask(stage, http, "POST", path, "uploads", data=form, headers=owner.headers) is None:
            await asyncio.sleep(_RETRY_S)


def _different(data: bytes, number: int) -> bytes:
    """Return the picture with another last byte of colour, so that it is not stored already."""
    palette = bytearray(data)
    palette[13:16] = (number % 16_777_216).to_bytes(3, "big")
    return bytes(palette)


ATTACK = Attack(
    name="decoding",
    what=f"{USERS} users of one address upload GIFs of {SIDE}×{SIDE} pixels and {FRAMES} frames, {AT_ONCE} at once",
    prepare=prepare,
    run=run,
)
