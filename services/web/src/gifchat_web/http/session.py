"""`/api/v1/session`, the only API route that web answers, because web issues the sessions."""

from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gifchat_web.http.session_cookies import Session


def session_routes() -> list[Route]:
    """Return the route that tells API clients who they are."""

    async def session(request: Request) -> Response:
        """Answer with the caller's id and colour. A new caller gets a session cookie from the middleware."""
        current: Session = request.state.session
        return JSONResponse(asdict(current.identity))

    return [Route("/api/v1/session", session, methods=["GET", "POST"])]
