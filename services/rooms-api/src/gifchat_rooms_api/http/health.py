"""Probes and numbers, for who runs the service."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response

Probe = Callable[[], Awaitable[bool]]


def health_router(mongo: Probe, redis: Probe) -> APIRouter:
    """`mongo` also says whether its indexes are made. Without Redis most of the service works, so it stays ready."""
    router = APIRouter(include_in_schema=False)

    @router.get("/health/live")
    async def live() -> Response:
        """The process answers."""
        return JSONResponse({"status": "ok"})

    @router.get("/health/ready")
    async def ready() -> Response:
        """Whether requests may be sent here."""
        mongo_ok, redis_ok = await mongo(), await redis()
        status = "unready" if not mongo_ok else "ok" if redis_ok else "degraded"
        body = {"status": status, "mongo": "ok" if mongo_ok else "away", "redis": "ok" if redis_ok else "away"}
        return JSONResponse(body, 200 if mongo_ok else 503)

    @router.get("/metrics")
    async def numbers() -> Response:
        """Prometheus exposition."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router
