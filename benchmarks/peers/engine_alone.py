"""Our engine without the rest of the gateway: the Engine.IO server, the client manager, and a join without checks.

Environment: PORT, and the gateway's settings.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import socketio
import uvicorn
from starlette.applications import Starlette

from gifchat_realtime_gateway.adapters.signed_tokens import SignedTokens
from gifchat_realtime_gateway.settings import Settings
from gifchat_realtime_gateway.socketio.client_manager import ClientManager
from gifchat_realtime_gateway.socketio.server import create_server

rooms: dict[str, set[str]] = {}
room_of: dict[str, str] = {}
server = create_server(Settings(), ClientManager(), lambda: False, SignedTokens(Settings().session_secrets))


async def _connect(_sid: str, _environ: dict[str, Any], _auth: object = None) -> None:
    """Admit every client."""


async def _join(sid: str, room: str) -> dict[str, bool]:
    rooms.setdefault(room, set()).add(sid)
    room_of[sid] = room
    return {"ok": True}


async def _disconnect(sid: str, _reason: str = "") -> None:
    room = room_of.pop(sid, None)
    if room is not None:
        rooms[room].discard(sid)


server.on("connect", _connect, namespace="/chat")
server.on("join", _join, namespace="/chat")
server.on("disconnect", _disconnect, namespace="/chat")


@asynccontextmanager
async def _lifespan(_app: Starlette) -> AsyncIterator[None]:
    running = asyncio.create_task(server.eio.run())
    yield
    running.cancel()


if __name__ == "__main__":
    uvicorn.run(
        socketio.ASGIApp(server, Starlette(lifespan=_lifespan)),
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        loop="uvloop",
        http=server.eio.http_protocol,  # type: ignore[arg-type]
        ws=server.eio.websocket_protocol,  # type: ignore[arg-type]
        access_log=False,
        log_level="warning",
    )
