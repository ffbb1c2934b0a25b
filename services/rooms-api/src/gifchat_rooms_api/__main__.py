"""`python -m gifchat_rooms_api`: serve the API until SIGTERM."""

import sys

from gifchat_chassis.serve import run_service, serve
from gifchat_rooms_api.app import create_app
from gifchat_rooms_api.settings import Settings


async def _serve(settings: Settings) -> int:
    app = create_app(settings)
    return await serve(app, settings, failed=app.state.failed)


def main() -> int:
    """Run the service and return its exit code."""
    return run_service("rooms-api", Settings, _serve)


if __name__ == "__main__":
    sys.exit(main())
