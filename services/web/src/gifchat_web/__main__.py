"""`python -m gifchat_web`: serve the pages until SIGTERM."""

import sys

from gifchat_chassis.serve import run_service, serve
from gifchat_web.app import create_app
from gifchat_web.settings import Settings


def main() -> int:
    """Run the service and return its exit code."""
    return run_service("web", Settings, lambda settings: serve(create_app(settings), settings))


if __name__ == "__main__":
    sys.exit(main())
