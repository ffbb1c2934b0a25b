"""`/api/v1/session`, the only API route that web answers, because web issues the sessions."""

import time
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gifchat_chassis.revocations import Revocation, RevokedSessions
from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_web.http.caller import caller_of
from gifchat_web.http.session_cookies import Session
from gifchat_web.ports import RoomsApi

_EVERYWHERE = {"true": True, "false": False}


def session_routes(rooms_api: RoomsApi, revoked: RevokedSessions) -> list[Route]:
    """Return the routes that tell API clients who they are, and sign them out."""

    async def session(request: Request) -> Response:
        """Answer with the caller's id and colour. A new caller gets a session cookie from the middleware."""
        current: Session = request.state.session
        return JSONResponse(asdict(current.identity))

    async def sign_out(request: Request) -> Response:
        """Revoke the caller's session, and remove the cookie from the browser.

        With `everywhere=false` only this browser loses the cookie, and copies of it stay valid.
        """
        everywhere = _EVERYWHERE.get(request.query_params.get("everywhere", "true"))
        if everywhere is None:
            raise Refused(errors.VALIDATION_FAILED)
        current: Session = request.state.session
        # Also revoke a session whose cookie was issued just now: it may be an old session with a renewed cookie.
        if everywhere:
            await _revoke(request)
            revoked.add(Revocation(current.identity.user_id, int(time.time() * 1_000)))
        request.state.session = None
        return Response(status_code=204)

    async def _revoke(request: Request) -> None:
        try:
            await rooms_api.sign_out(caller_of(request))
        except Refused as refused:
            if refused.code is not errors.SESSION_REVOKED:
                raise

    return [
        Route("/api/v1/session", session, methods=["GET", "POST"]),
        Route("/api/v1/session", sign_out, methods=["DELETE"]),
    ]
