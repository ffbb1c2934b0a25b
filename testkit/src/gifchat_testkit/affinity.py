"""Finds a client's gateway by the tag in nginx's affinity cookie; a gateway has a new tag after each start."""

import json
import re

import httpx

from gifchat_realtime_gateway.engine.sid import node_tag

COOKIE = "gifchat_gateway"
_STARTED = re.compile(r"""node_id["']?[=:]\s*["']?([A-Za-z0-9.-]+)""")
_HANDSHAKE = {"EIO": "4", "transport": "polling"}
_TRIES = 64


def tag_in(log: str) -> str:
    """Return the tag of a gateway's last start, from its log; empty if it never started."""
    started = _STARTED.findall(re.sub(r"\x1b\[[0-9;]*m", "", log))
    return node_tag(started[-1]) if started else ""


async def learn(url: str, tag: str) -> None:
    """Open and close connections through nginx at `url` until nginx has learned the gateway's tag.

    Raises:
        AssertionError: nginx routed every connection to other gateways.
    """
    async with httpx.AsyncClient(base_url=url) as client:
        sids = []
        try:
            for _ in range(_TRIES):
                client.cookies.clear()
                opened = await client.get("/socket.io/", params=_HANDSHAKE)
                sids.append(json.loads(opened.text[1:])["sid"])
                if client.cookies.get(COOKIE) == tag:
                    return
        finally:
            for sid in sids:
                await client.post("/socket.io/", params={**_HANDSHAKE, "sid": sid}, content="1")
    raise AssertionError(f"nginx does not know the gateway with the tag {tag}")
