"""`python -m gifchat_realtime_gateway`: serve sockets until SIGTERM, then drain and stop."""

import gc
import sys

from gifchat_chassis.serve import run_service, serve
from gifchat_contracts import limits
from gifchat_realtime_gateway.app import create_gateway
from gifchat_realtime_gateway.settings import Settings

SEND_BUFFER_BYTES = 256 * 1024
"""The kernel's send buffer per client. With the default, megabytes can pile up there before our own limit applies."""
RECEIVE_BUFFER_BYTES = 128 * 1024
"""The kernel's receive buffer per client. With the default, nginx sends megabytes here for a client that overspends.

With this size, they wait between the client and nginx, where it costs nothing.
"""
GRACEFUL_S = 5
GC_THRESHOLD = 50_000
"""Number of new objects that triggers a search for garbage cycles (the default in Python 3.11 is 700).

Each connection keeps dozens of objects. With the default, the collector scans them repeatedly during a burst of
joins. At 3,000 connections that takes a fifth of a join's CPU time.
"""


async def _serve(settings: Settings) -> int:
    gateway = create_gateway(settings)
    # Existing objects live until exit, so the collector need not scan them again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    return await serve(
        gateway.app,
        settings,
        drain=gateway.drain,
        failed=gateway.failed,
        send_buffer_bytes=SEND_BUFFER_BYTES,
        receive_buffer_bytes=RECEIVE_BUFFER_BYTES,
        graceful_s=GRACEFUL_S,
        http=gateway.http_protocol,
        ws=gateway.websocket_protocol,
        ws_max_size=limits.SOCKET_MESSAGE_MAX_BYTES,
        ws_per_message_deflate=False,
    )


def main() -> int:
    """Run the service and return its exit code."""
    return run_service("realtime-gateway", Settings, _serve)


if __name__ == "__main__":
    sys.exit(main())
