"""Room routes for gateways: the record of a room that a gateway hosts."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Depends, params
from fastapi.responses import JSONResponse

from gifchat_contracts import errors, events
from gifchat_contracts.errors import Refused
from gifchat_contracts.events import RoomPayload
from gifchat_contracts.ids import RoomId
from gifchat_contracts.position import Position
from gifchat_rooms_api.domain.moderation import NO_SANCTION, Sanction, Until
from gifchat_rooms_api.domain.room import Room
from gifchat_rooms_api.http.deps import Guards
from gifchat_rooms_api.http.direct_route import direct_router
from gifchat_rooms_api.http.message_schemas import RoomIdText, RoomsQuery
from gifchat_rooms_api.use_cases.read_history import ReadHistory
from gifchat_rooms_api.use_cases.read_rooms import ReadRooms


def internal_rooms_router(
    rooms: ReadRooms,
    history: ReadHistory,
    *,
    guards: Guards,
    checks: Sequence[params.Depends],
    clock: Callable[[], datetime],
) -> APIRouter:
    """Return the room routes under `/internal/v1`."""
    router = direct_router("/internal/v1", [Depends(guards.internal_only), *checks], include_in_schema=False)

    @router.get("/rooms/{room_id}")
    async def hosting_record(room_id: RoomIdText) -> JSONResponse:
        """Return the room, its position, its access version and its sanctions."""
        room = await rooms.get(RoomId(room_id))
        positions = await history.heads([room.room_id])
        if room.room_id not in positions:
            raise Refused(errors.ROOM_NOT_FOUND)
        return JSONResponse(_record(room, await rooms.payload(room), positions[room.room_id], clock()))

    @router.post("/records")
    async def hosting_records(query: RoomsQuery) -> JSONResponse:
        """Return the hosting records of these rooms; rooms that do not exist are left out."""
        found = await rooms.find([RoomId(room_id) for room_id in query.rooms])
        positions = await history.heads([room.room_id for room in found])
        payloads, now = await rooms.payloads(found), clock()
        records = {
            room.room_id: _record(room, payloads[room.room_id], positions[room.room_id], now)
            for room in found
            if room.room_id in positions
        }
        return JSONResponse({"records": records})

    return router


def _record(room: Room, payload: RoomPayload, position: Position, now: datetime) -> dict[str, Any]:
    sanctions = {user_id: sanction.pruned(now) for user_id, sanction in room.sanctions.items()}
    return {
        "room": payload,
        "epoch": room.epoch,
        "head": position.seq,
        "access_version": room.access_version,
        "owner_id": room.owner_id,
        "sanctions": {
            user_id: _sanction(sanction) for user_id, sanction in sanctions.items() if sanction != NO_SANCTION
        },
    }


def _sanction(sanction: Sanction) -> dict[str, str]:
    ends = {
        "banned_until": sanction.banned_until,
        "muted_until": sanction.muted_until,
        "kicked_at": sanction.kicked_at,
        "kicked_until": sanction.kicked_until,
    }
    return {name: _until(value) for name, value in ends.items() if value is not None}


def _until(value: Until) -> str:
    return events.timestamp(value) if isinstance(value, datetime) else value.value
