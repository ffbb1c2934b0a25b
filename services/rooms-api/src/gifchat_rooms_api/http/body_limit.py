"""ASGI middleware that bounds request bodies."""

from collections.abc import Callable

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

JSON_BODY_MAX_BYTES = 64 * 1024


class BodyLimit:
    """Refuses a body larger than its path allows, whatever its Content-Length says."""

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
