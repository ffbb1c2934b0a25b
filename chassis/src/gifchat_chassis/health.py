"""Probes and metrics for operators."""

from collections.abc import Awaitable, Callable, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Readiness = Callable[[], Awaitable[tuple[int, Mapping[str, object]]]]
"""Returns the status of `/health/ready`, 200 or 503, and its JSON body."""


def health_routes(readiness: Readiness) -> list[Route]:
    """Return the routes of `/health/live`, `/health/ready` and `/metrics`."""

    async def live(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_request: Request) -> Response:
        status, body = await readiness()
        return JSONResponse(body, status)

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return [Route("/health/live", live), Route("/health/ready", ready), Route("/metrics", metrics)]
