"""`python -m gifchat_web`: serve the pages until SIGTERM."""

import asyncio
import sys

from gifchat_chassis.serve import run_service, serve
from gifchat_web.app import create_app
from gifchat_web.settings import Settings


def main() -> int:
    """Run the service and return its exit code."""
    return run_service("web", Settings, _serve)


async def _serve(settings: Settings) -> int:
    failed = asyncio.Event()
    return await serve(create_app(settings, failed=failed), settings, failed=failed)


if __name__ == "__main__":
    sys.exit(main())
