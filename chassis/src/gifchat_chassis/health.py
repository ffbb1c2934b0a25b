"""Probes and metrics for operators."""

from collections.abc import Awaitable, Callable, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import Scope

Readiness = Callable[[], Awaitable[tuple[int, Mapping[str, object]]]]
"""Returns the status of `/health/ready`, 200 or 503, and its JSON body."""


class _NamedRoute(Route):
    """Tells the request metrics which route matched. FastAPI does that for its own routes only."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = super().matches(scope)
        return match, {**child_scope, "route": self}


def health_routes(readiness: Readiness) -> list[Route]:
    """Return the routes of `/health/live`, `/health/ready` and `/metrics`."""

    async def live(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_request: Request) -> Response:
        status, body = await readiness()
        return JSONResponse(body, status)

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    handlers = {"/health/live": live, "/health/ready": ready, "/metrics": metrics}
    return [_NamedRoute(path, handler) for path, handler in handlers.items()]
