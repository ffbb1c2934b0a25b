"""The Socket.IO server: python-socketio on our engine, with our client manager, kept to the published protocol."""

import logging
from collections.abc import Callable
from typing import Any

import socketio
from socketio.packet import CONNECT_ERROR
from starlette.requests import cookie_parser

from realtime_gateway.engine.server import EngineServer
from realtime_gateway.settings import Settings
from realtime_gateway.socketio.client_manager import ClientManager
from room_contracts import limits

RESERVED_EVENTS = frozenset({"connect", "connect_error", "disconnect", "disconnecting"})
"""Names of what happens to a connection; python-socketio would call the handlers of it."""


class ChatServer(socketio.AsyncServer):
    """python-socketio's server; what it does otherwise than the protocol says (Socket.IO 5) is put right here."""

    eio: EngineServer

    def _engineio_server_class(self) -> type[EngineServer]:
        return EngineServer

    async def _handle_connect(self, eio_sid: Any, namespace: Any, data: Any) -> None:
        if (namespace or "/") not in self.handlers:
            error = {"message": "Invalid namespace"}
            packet = self.packet_class(CONNECT_ERROR, data=error, namespace=namespace)  # type: ignore[no-untyped-call]
            await self._send_packet(eio_sid, packet)  # type: ignore[no-untyped-call]
            return
        await super()._handle_connect(eio_sid, namespace, data)  # type: ignore[no-untyped-call]

    async def _handle_event(self, eio_sid: Any, namespace: Any, id: Any, data: Any) -> None:  # noqa: A002
        if not isinstance(data, list) or not data or not isinstance(data[0], str):
            raise ValueError("an event is a list that begins with a name")
        if data[0] in RESERVED_EVENTS:
            raise ValueError(f"{data[0]} is no event of a client's")
        if self.manager.sid_from_eio_sid(eio_sid, namespace or "/") is None:
            raise ValueError("an event in a namespace that is not connected")
        await super()._handle_event(eio_sid, namespace, id, data)  # type: ignore[no-untyped-call]


def create_server(settings: Settings, manager: ClientManager, draining: Callable[[], bool]) -> ChatServer:
    """The server, without handlers.

    One client's events are handled one after the other: a `leave` never overtakes its `join`.
    """
    quiet = logging.getLogger("socketio.server")
    quiet.setLevel(logging.ERROR)
    return ChatServer(  # type: ignore[no-untyped-call]
        client_manager=manager,
        async_handlers=False,
        logger=quiet,
        allowed_origins=settings.allowed_origins,
        trusted_proxies=settings.forwarded_allow_ips,
        ping_interval_s=settings.ping_interval,
        ping_timeout_s=settings.ping_timeout,
        max_bytes=limits.SOCKET_MESSAGE_MAX_BYTES,
        draining=draining,
    )


def address_of(environ: dict[str, Any]) -> str:
    """The client's address, behind the proxies that are trusted."""
    return str(environ["REMOTE_ADDR"])


def cookie_of(environ: dict[str, Any], name: str) -> str | None:
    """One cookie of the handshake, read as the pages read it: whatever else is in the header."""
    return cookie_parser(environ.get("HTTP_COOKIE", "")).get(name)
