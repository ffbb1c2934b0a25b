"""The HTTP metrics of every service, labelled with its name."""

import time
from functools import lru_cache

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gifchat_chassis.http_methods import METHODS

REQUESTS = Counter("http_requests", "HTTP requests.", ("service", "method", "route", "status"))
SECONDS = Histogram("http_request_seconds", "Time until the response was complete.", ("service", "route"))


class RequestMetrics:
    """ASGI middleware that counts and times requests.

    The `route` label is the route's pattern, never the path, so that the label has few values.
    """

    def __init__(self, app: ASGIApp, service: str) -> None:
        self._app = app
        self._service = service

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
            requests, seconds = _series(self._service, method, route, status)
            requests.inc()
            seconds.observe(time.perf_counter() - started)


@lru_cache(maxsize=4_096)
def _series(service: str, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """Return the two series of a request. prometheus-client would validate the labels each time."""
    return REQUESTS.labels(service, method, route, str(status)), SECONDS.labels(service, route)


def _pattern(scope: Scope) -> str:
    """Return the pattern of the matched route, with the router prefixes that FastAPI omits."""
    pattern: str | None = getattr(scope.get("route"), "path", None)
    if pattern is None:
        return "unmatched"
    if pattern.endswith(":path}"):
        # It matches any number of segments. FastAPI's routers have no such pattern below a prefix.
        return pattern
    segments = scope["path"].split("/")
    return "/".join(segments[: len(segments) - pattern.count("/")]) + pattern
