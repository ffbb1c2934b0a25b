"""The data folder: databases, logs and secrets that are kept between runs."""

import fcntl
import hashlib
import json
import os
import secrets
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

from gifchat_cli.prerequisites import PrerequisiteError

_SOCKET_PATH_MAX_BYTES = 100
"""Linux allows 107, macOS 103."""


@dataclass(slots=True)
class State:
    """Secrets and ports that stay the same from one run to the next."""

    session_secrets: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    internal_token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    ports: dict[str, int] = field(default_factory=dict)
    """Process name → port. Cookies and the replica set's configuration depend on stable ports."""


class DataFolder:
    """The paths inside the folder, its lock and its state."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.logs = self.path / "logs"
        self.mongo = self.path / "mongo"
        self.valkey = self.path / "valkey"
        self.nginx = self.path / "nginx"
        self._state_file = self.path / "state.json"
        self._lock_file = self.path / "lock"

    def create(self) -> None:
        """Create the folders.

        Raises:
            PrerequisiteError: permission is denied, or the path is a file.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self.path, self.logs, self.mongo, self.valkey, self.nginx):
                folder.mkdir(exist_ok=True)
                (probe := folder / ".writable").touch()
                probe.unlink()
        except OSError as error:
            raise PrerequisiteError(
                f"Cannot write to the data folder {self.path} ({error.strerror}): "
                "choose another one with --data DIR, or change its owner."
            ) from error

    def lock(self) -> int:
        """Claim the folder for this process until it exits.

        Returns:
            A file descriptor that must stay open.

        Raises:
            PrerequisiteError: a running cluster holds the lock.
        """
        descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise PrerequisiteError(
                f"GIF Chat is already running on the data folder {self.path}: "
                f"stop it with `gifchat down --data {self.path}`, or start a second one with --data DIR."
            ) from error
        return descriptor

    def is_locked(self) -> bool:
        """Whether a running cluster holds the lock."""
        if not self._lock_file.exists():
            return False
        try:
            os.close(self.lock())
        except PrerequisiteError:
            return True
        return False

    def load_state(self) -> State:
        """Load the saved state, or create a new one with new secrets.

        Raises:
            PrerequisiteError: the file is damaged.
        """
        try:
            return State(**json.loads(self._state_file.read_text()))
        except FileNotFoundError:
            return State()
        except (ValueError, TypeError) as error:
            raise PrerequisiteError(
                f"{self._state_file} is damaged ({error}): remove it to get new secrets."
            ) from error

    def save_state(self, state: State) -> None:
        """Save the state in a file that only this user can read."""
        draft = self._state_file.with_suffix(".new")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(state), file, indent=2)
        draft.replace(self._state_file)

    def log(self, name: str) -> Path:
        """Return the path of a process's log file."""
        return self.logs / f"{name}.log"

    def socket_path(self) -> Path:
        """Return the control socket's path, in the temporary folder if this folder's path is too long."""
        here = self.path / "control.sock"
        if len(os.fsencode(here)) <= _SOCKET_PATH_MAX_BYTES:
            return here
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        private = Path(tempfile.gettempdir()) / f"gifchat-{os.getuid()}"
        private.mkdir(mode=0o700, exist_ok=True)
        if private.stat().st_uid != os.getuid():
            raise PrerequisiteError(f"{private} belongs to another user: choose a shorter data folder with --data DIR.")
        return private / f"{digest}.sock"
