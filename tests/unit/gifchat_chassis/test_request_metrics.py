from collections.abc import Callable

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from gifchat_chassis.request_metrics import RequestMetrics


def starlette() -> ASGIApp:
    async def answer(_request: Request) -> Response:
        return PlainTextResponse("ok")

    async def crash(_request: Request) -> Response:
        raise RuntimeError

    return Starlette(routes=[Route("/api/rooms/{room_id}", answer), Route("/crash", crash)])


def fastapi() -> ASGIApp:
    router = APIRouter(prefix="/rooms")

    @router.get("/{room_id}")
    async def answer(room_id: str) -> str:
        return room_id

    app = FastAPI()

    @app.get("/crash")
    async def crash() -> None:
        raise RuntimeError

    app.include_router(router, prefix="/api")
    return app


@pytest.mark.parametrize("build", [starlette, fastapi])
@pytest.mark.parametrize(
    ("method", "path", "labels"),
    [
        ("GET", "/api/rooms/1", ("GET", "/api/rooms/{room_id}", "200")),
        ("PUT", "/api/rooms/1", ("PUT", "/api/rooms/{room_id}", "405")),
        ("BREW", "/api/rooms/1", ("other", "/api/rooms/{room_id}", "405")),
        ("GET", "/nowhere/1", ("GET", "unmatched", "404")),
        ("GET", "/crash", ("GET", "/crash", "500")),
    ],
)
async def test_requests_are_counted_by_route_and_not_by_path(
    build: Callable[[], ASGIApp], method: str, path: str, labels: tuple[str, str, str]
) -> None:
    service = build.__name__
    counted = {"service": service, **dict(zip(("method", "route", "status"), labels, strict=True))}
    timed = {"service": service, "route": labels[1]}

    def numbers() -> tuple[float, float]:
        return (
            REGISTRY.get_sample_value("http_requests_total", counted) or 0,
            REGISTRY.get_sample_value("http_request_seconds_count", timed) or 0,
        )

    before = numbers()
    transport = httpx.ASGITransport(RequestMetrics(build(), service), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await client.request(method, path)
    assert numbers() == (before[0] + 1, before[1] + 1)
