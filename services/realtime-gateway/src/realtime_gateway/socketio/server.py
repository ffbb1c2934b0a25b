"""The Socket.IO server: python-socketio with our client manager."""

import logging
from http.cookies import CookieError, SimpleCookie
from typing import Any

import socketio

from realtime_gateway.settings import Settings
from realtime_gateway.socketio.client_manager import ClientManager
from room_contracts import limits


class ChatServer(socketio.AsyncServer):
    """python-socketio's server, with the poll of a client answered that says goodbye on another request."""

    async def _handle_eio_disconnect(self, eio_sid: Any, reason: Any) -> None:  # type: ignore[override]
        await super()._handle_eio_disconnect(eio_sid, reason)  # type: ignore[no-untyped-call]
        connection = self.eio.sockets.get(eio_sid)
        if reason == self.reason.CLIENT_DISCONNECT and connection is not None:
            connection.queue.put_nowait(None)


def create_server(settings: Settings, manager: ClientManager) -> Any:
    """The server, without handlers.

    One client's events are handled one after the other: a `leave` never overtakes its `join`.
    """
    quiet = logging.getLogger("socketio.server")
    quiet.setLevel(logging.ERROR)
    engine = logging.getLogger("engineio.server")
    engine.setLevel(logging.ERROR)
    return ChatServer(  # type: ignore[no-untyped-call]
        client_manager=manager,
        async_mode="asgi",
        async_handlers=False,
        logger=quiet,
        engineio_logger=engine,
        cors_allowed_origins=list(settings.allowed_origins),
        ping_interval=settings.ping_interval,
        ping_timeout=settings.ping_timeout,
        max_http_buffer_size=limits.SOCKET_MESSAGE_MAX_BYTES,
        http_compression=False,
    )


def address_of(environ: dict[str, Any]) -> str:
    """The client's address as uvicorn found it behind the proxies that it trusts; engineio itself has no idea."""
    client = environ["asgi.scope"].get("client")
    return str(client[0]) if client else "unknown"


def cookie_of(environ: dict[str, Any], name: str) -> str | None:
    """One cookie of the handshake."""
    try:
        cookies = SimpleCookie(environ.get("HTTP_COOKIE", ""))
    except CookieError:
        return None
    return cookies[name].value if name in cookies else None
