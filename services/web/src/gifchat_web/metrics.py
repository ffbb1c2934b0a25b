"""Counts and times of requests, for Prometheus."""

import time

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gifchat_web.methods import METHODS

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """What this process counts; its own registry, so that two applications in one test do not meet."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "web_requests", "Requests by route and status.", ("method", "route", "status"), registry=self._registry
        )
        self.seconds = Histogram(
            "web_request_seconds", "Time until a request was answered in full.", ("route",), registry=self._registry
        )

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)


class RequestMetrics:
    """ASGI middleware that counts; the route's pattern is the label, never the path."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

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
            route = getattr(scope.get("route"), "path", "unmatched")
            self._metrics.requests.labels(_method(scope["method"]), route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - started)


def _method(method: str) -> str:
    """A label of a bounded set: clients can invent methods."""
    return method if method in METHODS else "other"
