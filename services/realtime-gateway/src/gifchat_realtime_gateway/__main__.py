"""`python -m gifchat_realtime_gateway`: serve sockets until SIGTERM, then drain and stop."""

import gc
import sys

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from gifchat_chassis.serve import run_service, serve
from gifchat_chassis.settings import load_settings
from gifchat_contracts import limits
from gifchat_realtime_gateway.app import create_gateway
from gifchat_realtime_gateway.settings import Settings

SEND_BUFFER_BYTES = 256 * 1024
"""Size of the kernel's send buffer for a client. By default megabytes fill up there before our own bound shows."""
GRACEFUL_S = 5
GARBAGE_AT_ONCE = 50_000
"""New objects after which the collector looks for cycles (Python's default is 700).

A connection is some dozens of objects that stay. In a storm of joins the default would scan the living objects again
and again, which takes a fifth of a join's CPU time at 3,000 connections.
"""


async def _serve(settings: Settings) -> int:
    gateway = create_gateway(settings)
    # What is loaded by now stays, so the collector need not scan it any more.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_AT_ONCE)
    return await serve(
        gateway.app,
        settings,
        drain=gateway.drain,
        failed=gateway.failed,
        send_buffer_bytes=SEND_BUFFER_BYTES,
        graceful_s=GRACEFUL_S,
        http=gateway.http_protocol(HttpToolsProtocol, WebSocketsSansIOProtocol),
        ws=gateway.websocket_protocol(WebSocketsSansIOProtocol),
        ws_max_size=limits.SOCKET_MESSAGE_MAX_BYTES,
        ws_per_message_deflate=False,
    )


def main() -> int:
    """Run the service and return its exit code."""
    settings = load_settings("realtime-gateway", Settings)
    return run_service("realtime-gateway", settings, lambda: _serve(settings))


if __name__ == "__main__":
    sys.exit(main())
