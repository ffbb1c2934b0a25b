"""An embedded cluster for tests, started with the real command line; its processes can be killed and paused.

Fixture:
    cluster (session): an `EmbeddedCluster` that all tests share. A test that would leave it broken starts its own.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gifchat_cli.parent_death import die_with_parent
from gifchat_cli.ports import free_port

START_TIMEOUT_S = 90.0
_STOP_TIMEOUT_S = 90.0
_POLL_INTERVAL_S = 0.1

Process = dict[str, Any]
"""A process in `gifchat status --json`: name, kind, pid, port, state, ready, sockets, restarts."""


def gifchat(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `gifchat` and wait until it exits."""
    return subprocess.run(
        [sys.executable, "-m", "gifchat_cli", *arguments],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )


@dataclass(frozen=True, slots=True)
class EmbeddedCluster:
    """A running cluster."""

    url: str
    """The address for browsers: `http://localhost:<port>`."""
    data: Path

    def gifchat(self, command: str, *arguments: str) -> str:
        """Run a `gifchat` command on this cluster, and return its output.

        Raises:
            AssertionError: the command failed.
        """
        answer = gifchat(command, *arguments, "--data", str(self.data))
        assert answer.returncode == 0, f"gifchat {command}: {answer.stderr or answer.stdout}"
        return answer.stdout

    def processes(self) -> dict[str, Process]:
        """Return name → process, from `gifchat status --json`."""
        status = json.loads(self.gifchat("status", "--json"))
        return {process["name"]: process for process in status["processes"]}

    def scale(self, what: str, count: int) -> None:
        """Run `gifchat scale what=count` and wait until it is done."""
        self.gifchat("scale", f"{what}={count}")

    def log(self, name: str) -> str:
        """Return the log of a process."""
        return (self.data / "logs" / f"{name}.log").read_text(errors="replace")

    def output(self) -> str:
        """Return the output of `gifchat up` so far."""
        return (self.data.parent / "output").read_text(errors="replace")

    def gateways_behind_nginx(self) -> set[str]:
        """Return the names of the gateways in nginx's current configuration."""
        config = (self.data / "nginx" / "nginx.conf").read_text()
        ports = set(
            map(int, re.findall(r"server [^:]+:(\d+)", config.partition("upstream gateways {")[2].partition("}")[0]))
        )
        return {name for name, p in self.processes().items() if p["kind"] == "gateway" and p["port"] in ports}

    def send(self, name: str, number: signal.Signals) -> int:
        """Send a signal to a process, and return its pid."""
        pid = self.processes()[name]["pid"]
        assert isinstance(pid, int), f"{name} is not running"
        os.kill(pid, number)
        return pid

    def kill(self, name: str) -> int:
        """Send SIGKILL to a process, which the supervisor then restarts; return its old pid."""
        return self.send(name, signal.SIGKILL)

    @contextmanager
    def paused(self, name: str) -> Iterator[None]:
        """Pause a process until the block ends."""
        pid = self.send(name, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def wait_for(self, name: str, condition: Callable[[Process], bool], timeout_s: float = 30.0) -> Process:
        """Wait until `condition` holds for a process, and return it.

        Raises:
            AssertionError: it did not hold within `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            process = self.processes()[name]
            if condition(process):
                return process
            assert time.monotonic() < deadline, f"not within {timeout_s} s: {process}\n{self.log(name)[-2_000:]}"
            time.sleep(_POLL_INTERVAL_S)


@contextmanager
def running_cluster(*arguments: str, env: Mapping[str, str] | None = None) -> Iterator[EmbeddedCluster]:
    """Run a new cluster until the block ends; `arguments` go to `gifchat up`.

    It is a child of the tests, not detached, so that it exits with them even after a crash.

    Raises:
        AssertionError: it did not get ready; the message has its output.
    """
    with tempfile.TemporaryDirectory(prefix="gifchat-cluster-") as folder:
        data, output = Path(folder) / "data", Path(folder) / "output"
        port = free_port()
        with output.open("wb") as stream:
            supervisor = subprocess.Popen(
                [
                    *(sys.executable, "-m", "gifchat_cli", "up"),
                    *("--data", str(data), "--port", str(port), *arguments),
                ],
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - only one prctl call, and no option does the same
            )
        try:
            _wait_until_ready(supervisor, data, output)
            yield EmbeddedCluster(f"http://localhost:{port}", data)
        finally:
            supervisor.terminate()
            try:
                supervisor.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                supervisor.kill()
                supervisor.wait()


def _wait_until_ready(supervisor: subprocess.Popen[bytes], data: Path, output: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        status = gifchat("status", "--json", "--data", str(data))
        if status.returncode == 0 and json.loads(status.stdout)["ready"]:
            return
        said = output.read_text(errors="replace")[-4_000:]
        assert supervisor.poll() is None, f"gifchat up exited:\n{said}"
        assert time.monotonic() < deadline, f"gifchat up is not ready after {START_TIMEOUT_S} s:\n{said}"
        time.sleep(_POLL_INTERVAL_S)


@pytest.fixture(scope="session")
def cluster() -> Iterator[EmbeddedCluster]:
    """A cluster with three gateways behind nginx, shared by all tests of the session."""
    with running_cluster() as running:
        yield running
