"""The door of a node that stops: whoever has no connection yet is sent to another node."""

from collections.abc import Callable
from urllib.parse import parse_qs

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from room_contracts import errors

SOCKET_PATH = "/socket.io"


class RefuseWhileDraining:
    """ASGI middleware: a handshake gets 503, which nginx takes as a reason to ask the next node."""

    def __init__(self, app: ASGIApp, draining: Callable[[], bool]) -> None:
        self._app = app
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if self._draining() and scope["type"] in ("http", "websocket") and _is_handshake(scope):
            code = errors.NODE_DRAINING
            body = {"code": code.code, "title": code.en, "status": code.status, "retry": code.retry}
            await JSONResponse(body, code.status, {"Retry-After": "1"})(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_handshake(scope: Scope) -> bool:
    path: str = scope["path"]
    return path.startswith(SOCKET_PATH) and b"sid" not in parse_qs(scope.get("query_string", b""))
