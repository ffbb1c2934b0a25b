"""Stock python-socketio with its Redis manager on uvicorn, set up as in their documentation.

Environment: PORT, REDIS_URL, CHANNEL, DEFLATE (1: uvicorn's default, 0: off).
"""

import os
from typing import Any

import socketio
import uvicorn

manager = socketio.AsyncRedisManager(os.environ["REDIS_URL"], channel=os.environ["CHANNEL"])
sio = socketio.AsyncServer(async_mode="asgi", client_manager=manager)


@sio.on("connect", namespace="/chat")
async def connect(_sid: str, _environ: dict[str, Any], _auth: object = None) -> None:
    """Admit every client."""


@sio.on("join", namespace="/chat")
async def join(sid: str, room: str) -> dict[str, bool]:
    """Join a room."""
    await sio.enter_room(sid, room, namespace="/chat")
    return {"ok": True}


if __name__ == "__main__":
    uvicorn.run(
        socketio.ASGIApp(sio),
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        ws_per_message_deflate=os.environ["DEFLATE"] == "1",
        access_log=False,
        log_level="warning",
    )
