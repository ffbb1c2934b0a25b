"""ASGI middleware around every route: counts requests, bounds bodies, answers HEAD, completes 405."""

import time
from collections.abc import Callable, Sequence

from fastapi import HTTPException
from starlette.datastructures import MutableHeaders
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gifchat_rooms_api import metrics

JSON_BODY_MAX_BYTES = 64 * 1024
METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"})


class RequestMetrics:
    """Counts by the route's pattern, never by the path: a label has a bounded set of values."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = time.perf_counter()
        try:
            await self._app(scope, receive, send_counted)
        finally:
            route = _pattern(scope)
            method = scope["method"] if scope["method"] in METHODS else "other"
            metrics.REQUESTS.labels(method, route, str(status)).inc()
            metrics.REQUEST_SECONDS.labels(route).observe(time.perf_counter() - started)


def _pattern(scope: Scope) -> str:
    """The pattern of the route that was found, with the prefixes of its routers, which FastAPI keeps to itself."""
    pattern: str | None = getattr(scope.get("route"), "path", None)
    if pattern is None:
        return "unmatched"
    segments = scope["path"].split("/")
    return "/".join(segments[: len(segments) - pattern.count("/")]) + pattern


class BodyLimit:
    """Refuses a body above what its path may have, whatever its Content-Length says."""

    def __init__(self, app: ASGIApp, max_bytes: Callable[[str], int]) -> None:
        """`max_bytes` gives the limit for a path."""
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        left = self._max_bytes(scope["path"])

        async def receive_bounded() -> Message:
            nonlocal left
            message = await receive()
            if message["type"] == "http.request":
                left -= len(message.get("body", b""))
                if left < 0:
                    raise HTTPException(413)
            return message

        await self._app(scope, receive_bounded, send)


class Methods:
    """Answers HEAD where GET is answered, and lists every method of the path in the `Allow` of a 405.

    Starlette's own 405 lists the methods of one route only, even if several routes share the path.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        """`routes` are the application's routes. Mounts are skipped: they answer HEAD and 405 by themselves."""
        self._app = app
        self._routes = [route for route in routes if not isinstance(route, Mount)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = dict(scope)

        async def send_with_allow(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 405:
                headers = MutableHeaders(scope=message)
                methods = {method.strip() for method in headers.get("allow", "").split(",")} | self._methods(asked)
                headers["allow"] = ", ".join(sorted(methods - {""} | ({"HEAD"} if "GET" in methods else set())))
            await send(message)

        # A copy, because the server still has to see HEAD in its own scope to drop the body.
        inner = {**scope, "method": "GET"} if self._is_for_get(asked) else scope
        try:
            await self._app(inner, receive, send_with_allow)
        finally:
            if "route" in inner:
                scope["route"] = inner["route"]

    def _is_for_get(self, scope: Scope) -> bool:
        return scope["method"] == "HEAD" and {"GET", "HEAD"} & self._methods(scope) == {"GET"}

    def _methods(self, scope: Scope) -> set[str]:
        """The methods of all routes that match the path."""

        def is_routed(method: str) -> bool:
            return any(route.matches({**scope, "method": method})[0] is Match.FULL for route in self._routes)

        return set(filter(is_routed, METHODS))
