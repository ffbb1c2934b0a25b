"""HTTP methods: support HEAD on every path that supports GET, and send a complete `Allow` with every 405."""

from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"})


class Methods:
    """Answers HEAD wherever a route answers GET, and lists every method of the path in the `Allow` of a 405.

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

        # A copy, because the server must still see HEAD in its own scope to drop the body.
        inner = {**scope, "method": "GET"} if self._is_for_get(asked) else scope
        try:
            await self._app(inner, receive, send_with_allow)
        finally:
            if "route" in inner:
                scope["route"] = inner["route"]

    def _is_for_get(self, scope: Scope) -> bool:
        return scope["method"] == "HEAD" and {"GET", "HEAD"} & self._methods(scope) == {"GET"}

    def _methods(self, scope: Scope) -> set[str]:
        """Return the methods of all routes that match the path."""

        def is_routed(method: str) -> bool:
            return any(route.matches({**scope, "method": method})[0] is Match.FULL for route in self._routes)

        return set(filter(is_routed, METHODS))
