"""Sign out, and read the revoked sessions. web issues the sessions, and answers `/session` to users."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response

from gifchat_chassis.revocations import page_to_json
from gifchat_contracts.identity import Identity
from gifchat_rooms_api.http.deps import Guards, address_of
from gifchat_rooms_api.ports import Revocations
from gifchat_rooms_api.use_cases.sign_out import SignOut

_MAX_MS = 253_402_300_799_999
"""The last millisecond of the year 9999, where Python's dates end."""


def session_router(sign_out: SignOut, *, guards: Guards) -> APIRouter:
    """Return the route `/session`, which web calls for a user. It is undocumented: nginx sends users to web."""
    router = APIRouter(include_in_schema=False)

    @router.delete("/session", status_code=204, response_class=Response)
    async def revoke_session(user: Annotated[Identity, Depends(guards.caller)], request: Request) -> None:
        """Sign the caller's session out everywhere."""
        await sign_out.sign_out(user, address_of(request))

    return router


def internal_sessions_router(revocations: Revocations, *, guards: Guards) -> APIRouter:
    """Return the session route under `/internal/v1`."""
    router = APIRouter(include_in_schema=False, dependencies=[Depends(guards.internal_only)])

    @router.get("/revocations")
    async def read_revocations(since_ms: Annotated[int, Query(ge=0, le=_MAX_MS)] = 0) -> JSONResponse:
        """Return a page of revoked sessions, by the ids of their users."""
        return JSONResponse(page_to_json(await revocations.since(since_ms)))

    return router
