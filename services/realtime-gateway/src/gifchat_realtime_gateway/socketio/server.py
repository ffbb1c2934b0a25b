"""Build the Socket.IO server from the settings."""

import logging
from collections.abc import Callable, Container
from functools import partial

from gifchat_contracts import limits
from gifchat_contracts.identity import user_id_of
from gifchat_contracts.ids import UserId
from gifchat_realtime_gateway.engine.options import EngineOptions
from gifchat_realtime_gateway.engine.relay import Relay
from gifchat_realtime_gateway.ports import Signatures
from gifchat_realtime_gateway.settings import Settings
from gifchat_realtime_gateway.socketio.client_manager import ClientManager
from gifchat_realtime_gateway.socketio.environ import session_in
from gifchat_realtime_gateway.socketio.overrides import ChatServer


def create_server(
    settings: Settings,
    manager: ClientManager,
    draining: Callable[[], bool],
    signatures: Signatures,
    relay: Relay | None = None,
    *,
    revoked: Container[UserId] = (),
) -> ChatServer:
    """Build the server, without handlers. Sessions of `revoked` users cannot open a connection.

    The server handles each client's events in order, so a `leave` never overtakes its `join`.
    """
    quiet = logging.getLogger("socketio.server")
    quiet.setLevel(logging.ERROR)
    return ChatServer(
        client_manager=manager,
        async_handlers=False,
        logger=quiet,
        options=EngineOptions(
            allowed_origins=settings.allowed_origins,
            trusted_proxies=settings.forwarded_allow_ips,
            ping_interval_s=settings.ping_interval,
            ping_timeout_s=settings.ping_timeout,
            max_bytes=limits.SOCKET_MESSAGE_MAX_BYTES,
            draining=draining,
            deflate=settings.message_deflate,
            relay=relay,
            session_of=partial(session_in, signatures),
            bounds=settings.intake_bounds,
            revoked=lambda session_id: user_id_of(session_id) in revoked,
        ),
    )
