"""Probes and numbers, for who runs the service."""

from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gifchat_realtime_gateway.use_cases.check_ready import CheckReady


def health_routes(sockets: Callable[[], int], check: CheckReady) -> list[Route]:
    """`sockets` counts the connections of this node."""

    async def live(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_request: Request) -> Response:
        status = await check.status()
        return JSONResponse({"status": status, "sockets": sockets()}, 200 if status == "ok" else 503)

    async def numbers(_request: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return [Route("/health/live", live), Route("/health/ready", ready), Route("/metrics", numbers)]
