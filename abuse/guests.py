"""Polling guests: each costs the attacker three requests and no open connection."""

import json

import aiohttp

from abuse.attack import Stage

_PATH = "/socket.io/?EIO=4&transport=polling"
_SEPARATOR = "\x1e"
_POLLS = 4


async def seat_guest(stage: Stage, http: aiohttp.ClientSession, room: str) -> bool:
    """Let a new guest join a room and stay, and count what happened; return whether the guest got a seat."""
    try:
        async with http.get(_PATH) as answer:
            if answer.status != 200:
                stage.findings[f"handshakes refused with {answer.status}"] += 1
                return False
            sid = json.loads((await answer.text())[1:])["sid"]
        url = f"{_PATH}&sid={sid}"
        join = f"42/chat,0{json.dumps(['join', {'room': room}])}"
        async with http.post(url, data=_SEPARATOR.join(("40/chat,", join))) as answer:
            if answer.status != 200:
                stage.findings[f"posts refused with {answer.status}"] += 1
                return False
        for _ in range(_POLLS):
            async with http.get(url) as answer:
                packets = (await answer.text()).split(_SEPARATOR)
            for packet in packets:
                if packet.startswith("44"):
                    stage.findings["connects refused"] += 1
                    return False
                if packet.startswith("43/chat,0["):
                    ack = json.loads(packet.removeprefix("43/chat,0"))[0]
                    stage.findings["seats" if ack["ok"] else f"joins refused with {ack['code']}"] += 1
                    return bool(ack["ok"])
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError) as error:
        stage.findings[type(error).__name__] += 1
    return False
