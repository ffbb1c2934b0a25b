"""Probes and metrics, for the people who run the service."""

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from gifchat_web.metrics import CONTENT_TYPE, Metrics


def operations_router(metrics: Metrics) -> APIRouter:
    """Build the routes. Readiness does not depend on rooms-api: while it is down, the pages can still say so."""
    router = APIRouter(include_in_schema=False)

    @router.get("/health/live")
    @router.get("/health/ready")
    async def health() -> Response:
        """The process serves requests."""
        return JSONResponse({"status": "ok"})

    @router.get("/metrics")
    async def numbers() -> Response:
        """Prometheus exposition."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    return router
