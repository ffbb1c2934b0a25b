"""A long poll whose client hung up: the connection is over, as Node's server has it, not only after a missed ping."""

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from realtime_gateway.http.draining import SOCKET_PATH


class EndAbandonedPolls:
    """ASGI middleware: watches the client of each long poll while it waits for its answer."""

    def __init__(self, app: ASGIApp, end: Callable[[str], Awaitable[None]]) -> None:
        """`end` gets the id of the Engine.IO connection that is over."""
        self._app = app
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        connection = _polled_connection(scope)
        if connection is None:
            await self._app(scope, receive, send)
            return
        request = await receive()
        answered = False

        async def receive_once() -> Message:
            return request

        async def send_noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            if not answered:
                await self._end(connection)

        watching = asyncio.create_task(watch(), name="watch poll")
        try:
            await self._app(scope, receive_once, send_noted)
        finally:
            watching.cancel()


def _polled_connection(scope: Scope) -> str | None:
    if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith(SOCKET_PATH):
        return None
    sids = parse_qs(scope.get("query_string", b"")).get(b"sid")
    return sids[0].decode("latin-1") if sids else None
