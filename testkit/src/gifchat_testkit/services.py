"""A service in its own process, using the servers that a test has started."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gifchat_cli.parent_death import die_with_parent
from gifchat_cli.ports import LOOPBACK, free_port
from gifchat_cli.servers.readiness import NotReadyError, get_health

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0


@dataclass
class Service:
    """A running service."""

    name: str
    port: int
    log_file: Path
    process: subprocess.Popen[bytes]
    environment: dict[str, str]
    """Its environment variables, without the inherited ones."""

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def log(self) -> str:
        """Its log."""
        return self.log_file.read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait until it has exited; return the exit code. Blocks."""
        return self.process.wait(STOP_TIMEOUT_S)

    def wait_until_ready(self) -> None:
        """Wait until its readiness probe passes. Blocks.

        Raises:
            AssertionError: it exited, or it took too long; the message has the end of its log.
        """
        deadline = time.monotonic() + READY_TIMEOUT_S
        while True:
            try:
                get_health(self.port)
            except NotReadyError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"{self.name}: {error}\n{self.log[-3_000:]}") from error
                time.sleep(0.05)
            else:
                return


INHERITED = re.compile(r"PATH|HOME|LANG|TMPDIR|COVERAGE_\w+")
"""The services inherit only these variables of the test run."""


@contextmanager
def running_service(module: str, work_dir: Path, **environment: str) -> Iterator[Service]:
    """Run `python -m module` with its own environment until the block ends; waits until it is ready."""
    port = free_port()
    log_file = work_dir / f"{module}-{port}.log"
    inherited = {name: value for name, value in os.environ.items() if INHERITED.fullmatch(name)}
    with log_file.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            env={**inherited, "PORT": str(port), **environment},
            cwd=work_dir,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - only one prctl call, and no option does the same
        )
    service = Service(module, port, log_file, process, environment)
    try:
        service.wait_until_ready()
        yield service
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
