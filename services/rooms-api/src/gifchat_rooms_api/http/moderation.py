"""What a room's owner does against users."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends
from fastapi.responses import JSONResponse, Response

from gifchat_contracts import errors
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.domain.moderation import Ban, Kick, Measure, Mute, Until, end_of
from gifchat_rooms_api.http.message_schemas import RoomIdText, UserIdText
from gifchat_rooms_api.http.problems import problems
from gifchat_rooms_api.http.room_schemas import KickRequest, Sanction, SanctionRequest
from gifchat_rooms_api.use_cases.moderate_user import Moderation

_OWNER = (
    errors.SESSION_REQUIRED,
    errors.ORIGIN_REFUSED,
    errors.ROOM_NOT_FOUND,
    errors.NOT_OWNER,
    errors.OUTCOME_UNKNOWN,
)
_BODY = (*_OWNER, errors.TOO_MANY_SANCTIONS, errors.MALFORMED, errors.PAYLOAD_TOO_LARGE)


def moderation_router(
    moderation: Moderation, *, clock: Callable[[], datetime], caller: Callable[..., Any]
) -> APIRouter:
    """Kicks, bans and mutes; `caller` gives the `Identity` behind the session cookie."""
    router = APIRouter(prefix="/rooms/{room_id}", tags=["moderation"])
    Caller = Annotated[Identity, Depends(caller)]  # noqa: N806 - a type

    def until(wanted: SanctionRequest | None) -> Until:
        return end_of(None if wanted is None else wanted.seconds, clock())

    async def sanction(room_id: str, owner: Identity, user_id: str, measure: Measure) -> JSONResponse:
        payload = await moderation.take(RoomId(room_id), owner, UserId(user_id), measure)
        return JSONResponse({**payload, "user_id": user_id})

    @router.post("/kicks", status_code=204, response_class=Response, responses=problems(*_BODY))
    async def kick(room_id: RoomIdText, wanted: KickRequest, owner: Caller) -> None:
        """Remove a user from the room, now; coming back is allowed."""
        await moderation.take(RoomId(room_id), owner, UserId(wanted.user_id), Kick())

    @router.put("/bans/{user_id}", response_model=Sanction, responses=problems(*_BODY))
    async def ban(
        room_id: RoomIdText,
        user_id: UserIdText,
        owner: Caller,
        wanted: Annotated[SanctionRequest | None, Body()] = None,
    ) -> JSONResponse:
        """Remove a user and keep them out."""
        return await sanction(room_id, owner, user_id, Ban(until(wanted)))

    @router.delete("/bans/{user_id}", status_code=204, response_class=Response, responses=problems(*_OWNER))
    async def unban(room_id: RoomIdText, user_id: UserIdText, owner: Caller) -> None:
        """Let a user in again."""
        await moderation.take(RoomId(room_id), owner, UserId(user_id), Ban(None))

    @router.put("/mutes/{user_id}", response_model=Sanction, responses=problems(*_BODY))
    async def mute(
        room_id: RoomIdText,
        user_id: UserIdText,
        owner: Caller,
        wanted: Annotated[SanctionRequest | None, Body()] = None,
    ) -> JSONResponse:
        """Let a user read only."""
        return await sanction(room_id, owner, user_id, Mute(until(wanted)))

    @router.delete("/mutes/{user_id}", status_code=204, response_class=Response, responses=problems(*_OWNER))
    async def unmute(room_id: RoomIdText, user_id: UserIdText, owner: Caller) -> None:
        """Let a user write again."""
        await moderation.take(RoomId(room_id), owner, UserId(user_id), Mute(None))

    return router
