"""ASGI middleware around everything: requests are counted, and bodies are bounded before anything parses them."""

import time
from collections.abc import Callable

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rooms_api import metrics

JSON_BODY_MAX_BYTES = 64 * 1024
_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"})


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
            method = scope["method"] if scope["method"] in _METHODS else "other"
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
