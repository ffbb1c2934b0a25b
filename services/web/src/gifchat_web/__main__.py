"""`python -m gifchat_web`: serve the pages until SIGTERM."""

import signal
import sys

import uvicorn
from pydantic import ValidationError

from gifchat_web.app import create_app
from gifchat_web.logs import configure_logs
from gifchat_web.settings import Settings


def main() -> int:
    """Run the service; 2 where the environment is wrong."""
    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors():
            where = ".".join(str(part) for part in problem["loc"]).upper()
            sentence = problem["msg"].removeprefix("Value error, ")
            print(f"web cannot start: {where + ': ' if where else ''}{sentence}", file=sys.stderr)  # noqa: T201
        return 2
    # uvicorn raises the signal again once it has stopped gracefully: a stop that was asked for is no failure.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    configure_logs(settings.log_level, settings.log_format, settings.node_name)
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        proxy_headers=True,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=10,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
