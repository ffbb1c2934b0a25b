"""Routes for who runs the service, and the session for who has no page."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gifchat_web.metrics import CONTENT_TYPE, Metrics
from gifchat_web.session import Session


def operations_router(metrics: Metrics) -> APIRouter:
    """Probes and numbers. Ready does not ask rooms-api: without it these pages still say what is wrong."""
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


def session_router() -> APIRouter:
    """`/api/v1/session`: the one part of the API that is answered here, where sessions are issued."""
    router = APIRouter(include_in_schema=False)

    @router.api_route("/api/v1/session", methods=["GET", "POST"])
    async def session(request: Request) -> Response:
        """Who the caller is; who was nobody before gets a cookie."""
        current: Session = request.state.session
        identity = {"user_id": current.identity.user_id, "color": current.identity.color}
        return JSONResponse(identity, headers={"Cache-Control": "no-store"})

    return router
