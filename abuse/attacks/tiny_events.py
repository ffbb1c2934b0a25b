"""Five connections to one gateway send the smallest packets that there are, without a pause."""

import asyncio

from abuse.attack import Attack, Stage
from abuse.sockets import flood, frames, gateway_cookie

SOCKETS = 5
_KINDS = (
    frames("3"),  # pongs
    frames('42/chat,["x"]'),  # events that have no handler
    frames('42/chat,["typing",0]'),
    frames("41/chat,", "40/chat,"),
    frames('42/room,["probe"]'),
)


async def run(stage: Stage) -> None:
    """Flood one gateway."""
    cookie = await gateway_cookie(stage)
    await asyncio.gather(
        *(
            flood(stage, _KINDS[number % len(_KINDS)], greeting=("40/chat,", "40/room,"), cookie=cookie)
            for number in range(SOCKETS)
        )
    )


ATTACK = Attack(
    name="tiny events",
    what=f"{SOCKETS} connections to one gateway send pongs, unknown events and the like as fast as it takes them",
    run=run,
)
