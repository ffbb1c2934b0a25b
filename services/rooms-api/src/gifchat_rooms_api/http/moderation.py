"""Kicks, bans and mutes by a room's owner."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query
from fastapi.responses import JSONResponse, Response

from gifchat_contracts import errors, events
from gifchat_contracts.errors import Refused
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.domain.moderation import Ban, Kick, ModerationAction, Mute, Until, sanction_end
from gifchat_rooms_api.http.deps import Guards
from gifchat_rooms_api.http.message_schemas import RoomIdText, UserIdText
from gifchat_rooms_api.http.problems import BODY_PROBLEMS, OWNER_PROBLEMS, problems
from gifchat_rooms_api.http.room_schemas import BanRequest, KickRequest, MemberList, Sanction, SanctionRequest
from gifchat_rooms_api.use_cases.list_members import ListedMember, ListMembers
from gifchat_rooms_api.use_cases.moderate_user import ModerateUser
from gifchat_rooms_api.use_cases.purge_user import PurgeUser

MEMBERS_PAGE_DEFAULT, MEMBERS_PAGE_MAX = 100, 1_000

_MAX_CURSOR = 2**64 - 1
_SANCTION_PROBLEMS = (*OWNER_PROBLEMS, *BODY_PROBLEMS)


def moderation_router(
    moderate_user: ModerateUser,
    purge_user: PurgeUser,
    list_members: ListMembers,
    *,
    guards: Guards,
    clock: Callable[[], datetime],
    kick_hold_s: float,
) -> APIRouter:
    """Return the moderation routes under `/rooms/{room_id}`. A kicked user is kept out for `kick_hold_s`."""
    router = APIRouter(prefix="/rooms/{room_id}", tags=["moderation"])
    Caller = Annotated[Identity, Depends(guards.caller)]  # noqa: N806 - a type
    Duration = Annotated[SanctionRequest | None, Body()]  # noqa: N806 - a type

    def until(request: SanctionRequest | None) -> Until:
        return sanction_end(None if request is None else request.seconds, clock())

    async def sanction(room_id: str, owner: Identity, user_id: str, action: ModerationAction) -> JSONResponse:
        payload = await moderate_user.apply(RoomId(room_id), owner, UserId(user_id), action)
        return JSONResponse({**payload, "user_id": user_id})

    @router.get("/members", response_model=MemberList, responses=problems(*OWNER_PROBLEMS))
    async def members(
        room_id: RoomIdText,
        owner: Caller,
        limit: Annotated[int, Query(ge=1, le=MEMBERS_PAGE_MAX, description="About this many.")] = MEMBERS_PAGE_DEFAULT,
        cursor: Annotated[
            str, Query(pattern=r"^[0-9]{1,20}$", description="The `next_cursor` of the previous page.")
        ] = "0",
    ) -> JSONResponse:
        """List the room's members, as its owner. Members who never posted have a seat too, and can be kicked."""
        if int(cursor) > _MAX_CURSOR:
            raise Refused(errors.VALIDATION_FAILED, detail="cursor: not a cursor of this API")
        items, next_cursor = await list_members.page(RoomId(room_id), owner.user_id, int(cursor), limit)
        answer = {"items": [_member(item) for item in items], "next_cursor": str(next_cursor) if next_cursor else None}
        return JSONResponse(answer)

    @router.post("/kicks", status_code=204, response_class=Response, responses=problems(*_SANCTION_PROBLEMS))
    async def kick(room_id: RoomIdText, request: KickRequest, owner: Caller) -> None:
        """Remove a user from the room now. The user may come back after a while: a minute by default.

        A private room then asks for its password again. A ban keeps the user out until it ends or is lifted.
        """
        kick = Kick(clock() + timedelta(seconds=kick_hold_s))
        await moderate_user.apply(RoomId(room_id), owner, UserId(request.user_id), kick)

    @router.put("/bans/{user_id}", response_model=Sanction, responses=problems(*_SANCTION_PROBLEMS))
    async def ban(
        room_id: RoomIdText, user_id: UserIdText, owner: Caller, request: Annotated[BanRequest | None, Body()] = None
    ) -> JSONResponse:
        """Remove a user from the room and keep them out. With `purge`, also delete their messages."""
        answer = await sanction(room_id, owner, user_id, Ban(until(request)))
        if request is not None and request.purge:
            await purge_user.purge(RoomId(room_id), owner.user_id, UserId(user_id))
        return answer

    @router.delete("/bans/{user_id}", status_code=204, response_class=Response, responses=problems(*OWNER_PROBLEMS))
    async def unban(room_id: RoomIdText, user_id: UserIdText, owner: Caller) -> None:
        """Lift a ban."""
        await moderate_user.apply(RoomId(room_id), owner, UserId(user_id), Ban(None))

    @router.put("/mutes/{user_id}", response_model=Sanction, responses=problems(*_SANCTION_PROBLEMS))
    async def mute(room_id: RoomIdText, user_id: UserIdText, owner: Caller, request: Duration = None) -> JSONResponse:
        """Keep a user from posting. The user can still read."""
        return await sanction(room_id, owner, user_id, Mute(until(request)))

    @router.delete("/mutes/{user_id}", status_code=204, response_class=Response, responses=problems(*OWNER_PROBLEMS))
    async def unmute(room_id: RoomIdText, user_id: UserIdText, owner: Caller) -> None:
        """Lift a mute."""
        await moderate_user.apply(RoomId(room_id), owner, UserId(user_id), Mute(None))

    return router


def _member(listed: ListedMember) -> dict[str, Any]:
    member, at = listed.member, listed.last_posted_at
    return {
        "user_id": member.user_id,
        "color": member.color,
        "connected": member.connected,
        "last_posted_at": None if at is None else events.timestamp(at),
    }
