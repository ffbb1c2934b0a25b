"""NOT rooms-api: a stand-in that answers gateways from memory, so that benchmarks measure only the gateway.

Every room exists, is public, has free seats and an empty log. Environment: PORT.
"""

import os

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from gifchat_contracts import limits

EPOCH = "00000000000000aa"
OWNER = "f" * 24


def record_of(room_id: str) -> dict[str, object]:
    """Return a hosting record."""
    room = {
        "_id": room_id,
        "title": "A benchmark room",
        "max": limits.ROOM_MAX_MAX,
        "private": False,
        "owner": "#808080",
        "owner_id": OWNER,
        "slow_mode_s": 0,
        "createdAt": "2026-01-01T00:00:00.000Z",
        "members": 0,
    }
    return {"room": room, "epoch": EPOCH, "head": 0, "access_version": 1, "owner_id": OWNER, "sanctions": {}}


async def record(request: Request) -> JSONResponse:
    """Return the hosting record of a room."""
    return JSONResponse(record_of(request.path_params["room_id"]))


async def records(request: Request) -> JSONResponse:
    """Return the hosting records of several rooms."""
    asked = (await request.json())["rooms"]
    return JSONResponse({"records": {room_id: record_of(room_id) for room_id in asked}})


async def log(_request: Request) -> JSONResponse:
    """Return the end of a room's log."""
    return JSONResponse({"epoch": EPOCH, "head": 0, "items": []})


async def heads(request: Request) -> JSONResponse:
    """Return the heads of rooms."""
    asked = (await request.json())["rooms"]
    return JSONResponse({"heads": {room_id: {"epoch": EPOCH, "seq": 0} for room_id in asked}})


app = Starlette(
    routes=[
        Route("/internal/v1/rooms/{room_id}", record),
        Route("/internal/v1/records", records, methods=["POST"]),
        Route("/internal/v1/rooms/{room_id}/log", log),
        Route("/internal/v1/heads", heads, methods=["POST"]),
    ]
)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), access_log=False, log_level="warning")
