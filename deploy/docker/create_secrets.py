"""Create the secrets of a new installation in SECRETS_FOLDER, and keep existing ones. Runs before the services.

The services read them if SESSION_SECRETS or INTERNAL_TOKEN is not set. Needs only the standard library.
"""

import logging
import os
import secrets
from pathlib import Path

NAMES = ("session_secrets", "internal_token")

_log = logging.getLogger("secrets")


def create(folder: Path, name: str) -> bool:
    """Create one secret unless it exists; return whether this created it. Readers never see half a secret."""
    draft = folder / f".{name}.{os.getpid()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, folder / name)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def main() -> None:
    """Create what is missing."""
    folder = Path(os.environ["SECRETS_FOLDER"])
    for name in NAMES:
        if create(folder, name):
            _log.info("created %s", name)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main()
