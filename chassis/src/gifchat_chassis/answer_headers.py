"""Headers that every answer has: nothing is stored unless the answer allows it, and redirects stay on this site."""

import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_NO_STORE = (b"cache-control", b"no-store")
_SITE = re.compile(rb"\A(?i:https?:)?[/\\]{2,}[^/\\?#]*")


class AnswerHeaders:
    """ASGI middleware that adds `Cache-Control: no-store` where it is missing, and makes each `Location` relative.

    Most answers depend on the user, and no cache between us and the user may keep them. A redirect to an absolute URL
    would use the `Host` that the client sent.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _completed(message.get("headers", ()))
            await send(message)

        await self._app(scope, receive, send_with_headers)


def relative_location(location: bytes) -> bytes:
    """Return a `Location` without scheme and host. Browsers read a path after two slashes as another site."""
    path, is_absolute = _SITE.subn(b"", location, count=1)
    return b"/" + path.lstrip(b"/\\") if is_absolute else location


def _completed(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    cached = False
    for index, (name, value) in enumerate(headers):
        if name == b"cache-control":
            cached = True
        elif name == b"location":
            headers[index] = (name, relative_location(value))
    return headers if cached else [*headers, _NO_STORE]
