"""The composition root: everything is built and wired here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from gifchat_chassis.health import health_routes
from gifchat_chassis.http_methods import Methods
from gifchat_chassis.origin import same_origin
from gifchat_chassis.request_metrics import RequestMetrics
from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_web.adapters.rooms_api_client import RoomsApiClient
from gifchat_web.http.pages import pages_router
from gifchat_web.http.rendering import Pages
from gifchat_web.http.room_actions import room_actions_router
from gifchat_web.http.security_headers import SecurityHeaders
from gifchat_web.http.session import session_router
from gifchat_web.http.session_cookies import SessionCookies, Sessions
from gifchat_web.http.static_files import HashedFiles
from gifchat_web.i18n import script_files
from gifchat_web.ports import RoomsApi
from gifchat_web.settings import Settings

_WITHOUT_SESSION = ("/static/", "/health/", "/metrics")
_BY_STATUS = {404: errors.NOT_FOUND, 405: errors.METHOD_NOT_ALLOWED}
_log = structlog.get_logger("gifchat_web")


def create_app(settings: Settings, rooms_api: RoomsApi | None = None) -> ASGIApp:
    """Build the service as an ASGI application. Tests pass `rooms_api` in place of the HTTP client."""
    client = RoomsApiClient(settings.rooms_api_url)
    static_files = HashedFiles(made=script_files())
    pages = Pages(static_files, secure_cookies=settings.secure_cookies)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        _log.info("started", rooms_api=settings.rooms_api_url, static_version=static_files.version)
        async with client:
            yield

    app = FastAPI(lifespan=lifespan, openapi_url=None, dependencies=[Depends(same_origin(settings.allowed_origins))])
    app.router.routes.extend(health_routes(_readiness))
    app.include_router(session_router())
    app.include_router(pages_router(rooms_api or client, pages))
    app.include_router(room_actions_router(rooms_api or client))
    app.mount("/static/{version}", static_files)
    _answer_errors(app, pages)

    cookies = SessionCookies(settings.session_secrets, secure=settings.secure_cookies)
    sessions = Sessions(Methods(app, app.routes), cookies, _WITHOUT_SESSION)
    return SecurityHeaders(RequestMetrics(sessions, "web"))


async def _readiness() -> tuple[int, dict[str, str]]:
    """Readiness does not depend on rooms-api: while it is down, the pages can still say so."""
    return 200, {"status": "ok"}


def _answer_errors(app: FastAPI, pages: Pages) -> None:
    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        if error.code.status >= 500:
            _log.warning(
                "rooms_api_failed", code=error.code.code, path=request.url.path, cause=type(error.__cause__).__name__
            )
        return pages.problem(request, error.code, error.retry_after_s)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, _error: RequestValidationError) -> Response:
        return pages.problem(request, errors.VALIDATION_FAILED)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        response = pages.problem(request, _BY_STATUS.get(error.status_code, errors.MALFORMED))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def crashed(request: Request, _error: Exception) -> Response:
        return pages.problem(request, errors.INTERNAL)
