"""The composition root: everything is built and wired here."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from gifchat_chassis.answer_headers import AnswerHeaders
from gifchat_chassis.background_tasks import background_tasks
from gifchat_chassis.health import health_routes
from gifchat_chassis.http_methods import Methods
from gifchat_chassis.origin import SAFE_METHODS, same_origin
from gifchat_chassis.redis_connections import redis_client
from gifchat_chassis.request_metrics import RequestMetrics
from gifchat_chassis.revocations import FollowRevocations, RevokedSessions
from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_web.adapters.redis_lobby import RedisLobby
from gifchat_web.adapters.rooms_api_client import RoomsApiClient
from gifchat_web.http.pages import list_route, room_routes
from gifchat_web.http.rendering import Pages
from gifchat_web.http.room_actions import room_action_routes
from gifchat_web.http.security_headers import SecurityHeaders
from gifchat_web.http.session import session_routes
from gifchat_web.http.session_cookies import SessionCookies, Sessions
from gifchat_web.http.static_files import HashedFiles
from gifchat_web.i18n import script_files
from gifchat_web.ports import RoomsApi
from gifchat_web.settings import Settings
from gifchat_web.use_cases.list_rooms import ListRooms

_WITHOUT_SESSION = ("/static/", "/health/", "/metrics")
_BY_STATUS = {404: errors.NOT_FOUND, 405: errors.METHOD_NOT_ALLOWED}
_log = structlog.get_logger("gifchat_web")


def create_app(
    settings: Settings, rooms_api: RoomsApi | None = None, *, failed: asyncio.Event | None = None
) -> ASGIApp:
    """Build the service as an ASGI application. Building opens no connection; the lifespan does.

    Tests pass `rooms_api` in place of the HTTP client. `failed` is set if a background task died.
    """
    client = RoomsApiClient(settings.rooms_api_url, settings.internal_token)
    revoked = RevokedSessions()
    follow = FollowRevocations(revoked, client.revocations, settings.revocation_read_seconds)
    api = rooms_api or client
    lists = ListRooms(api, keep_s=settings.list_keep_s, max_pages=settings.list_pages_kept)
    static_files = HashedFiles(made=script_files())
    pages = Pages(static_files, secure_cookies=settings.secure_cookies, max_kept=settings.rendered_pages_kept)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        _log.info("started", rooms_api=settings.rooms_api_url, static_version=static_files.version)
        # One connection listens. After a loss, a second one replaces it.
        redis = redis_client(settings.redis_url, max_connections=2)
        lobby = RedisLobby(redis, lists.drop)
        async with client, background_tasks([lobby.run, follow.run], [redis.aclose], failed or asyncio.Event()):
            yield

    routes = [
        list_route(lists, pages),
        *room_routes(api, lists, pages),
        *room_action_routes(api, lists),
        *session_routes(api, revoked),
        Route("/static/{version}/{path:path}", static_files.answer),
        *health_routes(_readiness),
    ]
    app = Starlette(
        routes=_from_our_origin(routes, settings.allowed_origins),
        exception_handlers=_error_handlers(pages),
        lifespan=lifespan,
    )

    cookies = SessionCookies(settings.session_secrets, secure=settings.secure_cookies)
    sessions = Sessions(Methods(app, app.routes), cookies, _WITHOUT_SESSION, revoked)
    return SecurityHeaders(AnswerHeaders(RequestMetrics(sessions, "web")))


async def _readiness() -> tuple[int, dict[str, str]]:
    """Readiness does not depend on rooms-api or Redis: while rooms-api is down, the pages can still say so."""
    return 200, {"status": "ok"}


def _from_our_origin(routes: Sequence[Route], allowed: Sequence[str]) -> list[Route]:
    """Return the routes, with an origin check before each that can change something."""
    check = same_origin(allowed)

    def checked(route: Route) -> Route:
        async def endpoint(request: Request) -> Response:
            await check(request)
            response: Response = await route.endpoint(request)
            return response

        return Route(route.path, endpoint, methods=route.methods)

    return [route if (route.methods or set()) <= SAFE_METHODS else checked(route) for route in routes]


def _error_handlers(pages: Pages) -> dict[type[Exception], Callable[[Request, Any], Awaitable[Response]]]:
    async def refused(request: Request, error: Refused) -> Response:
        if error.code.status >= 500:
            _log.warning(
                "rooms_api_failed", code=error.code.code, path=request.url.path, cause=type(error.__cause__).__name__
            )
        return pages.problem(request, error.code, error.retry_after_s)

    async def http_error(request: Request, error: HTTPException) -> Response:
        response = pages.problem(request, _BY_STATUS.get(error.status_code, errors.MALFORMED))
        response.headers.update(error.headers or {})
        return response

    async def crashed(request: Request, _error: Exception) -> Response:
        return pages.problem(request, errors.INTERNAL)

    return {Refused: refused, HTTPException: http_error, Exception: crashed}
