"""For gateways: what one needs to know of a room that it hosts."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse

from room_contracts import errors, events
from room_contracts.ids import RoomId
from rooms_api.domain.errors import Refused
from rooms_api.domain.moderation import NO_SANCTION, Sanction, Until
from rooms_api.http.message_schemas import RoomIdText
from rooms_api.use_cases.history import History
from rooms_api.use_cases.rooms import RoomRegistry


def internal_router(
    rooms: RoomRegistry, history: History, *, clock: Callable[[], datetime], from_a_service: Callable[..., Any]
) -> APIRouter:
    """The hosting record; `from_a_service` refuses whoever has not the internal token."""
    router = APIRouter(include_in_schema=False, dependencies=[Depends(from_a_service)])

    @router.get("/rooms/{room_id}")
    async def hosting_record(room_id: RoomIdText) -> JSONResponse:
        """The room, its position, and what decides over who may be in it."""
        room = await rooms.record(RoomId(room_id))
        positions = await history.heads([room.room_id])
        if room.room_id not in positions:
            raise Refused(errors.ROOM_NOT_FOUND)
        now = clock()
        sanctions = {user_id: sanction.pruned(now) for user_id, sanction in room.sanctions.items()}
        record = {
            "room": await rooms.payload(room),
            "epoch": room.epoch,
            "head": positions[room.room_id].seq,
            "access_version": room.access_version,
            "owner_id": room.owner_id,
            "sanctions": {
                user_id: _sanction(sanction) for user_id, sanction in sanctions.items() if sanction != NO_SANCTION
            },
        }
        return JSONResponse(record)

    return router


def _sanction(sanction: Sanction) -> dict[str, str]:
    ends = {
        "banned_until": sanction.banned_until,
        "muted_until": sanction.muted_until,
        "kicked_at": sanction.kicked_at,
    }
    return {name: _moment(value) for name, value in ends.items() if value is not None}


def _moment(value: Until) -> str:
    return events.timestamp(value) if isinstance(value, datetime) else value.value
