"""Child processes without a supervisor: only the test starts, signals and restarts them, and none outlives it."""

import asyncio
import contextlib
import ctypes
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gifchat_cli.parent_death import die_with_parent
from gifchat_cli.ports import is_free
from gifchat_cli.servers.readiness import NotReadyError

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
_POLL_INTERVAL_S = 0.02
_PR_SET_PDEATHSIG = 1
_ENDING = {signal.SIGTERM, signal.SIGINT, signal.SIGKILL}
_PORTS = range(12_000, 30_000)
"""Below Linux's ephemeral ports: an outgoing connection could otherwise take the port of a killed server."""
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def lasting_port(taken: Collection[int]) -> int:
    """Return a port, not in `taken`, that stays free while its server is down."""
    while True:
        port = random.choice(_PORTS)  # noqa: S311 - spreads clusters that start at the same time
        if port not in taken and is_free(port):
            return port


def die_at_once_with_parent() -> None:
    """A `preexec_fn` like `parent_death.die_with_parent`, but with SIGKILL, which also ends a paused process."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Resources:
    """The resources that a process uses."""

    rss_bytes: int
    files: int
    """Open file descriptors."""


class ServerProcess:
    """A server process. Only `start` restarts it, with the same command line and ports."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log_path: Path,
        probe: Callable[[], object],
        env: Mapping[str, str] | None = None,
        *,
        has_children: bool = False,
    ) -> None:
        """`probe` raises `NotReadyError` until the server is ready. It runs in a thread and may block.

        `has_children`: if the tests die, the process gets SIGTERM instead of SIGKILL, so that it stops its children.
        """
        self.name = name
        self.command = list(command)
        self.log_path = log_path
        self.env = dict(env) if env is not None else dict(os.environ)
        self._probe = probe
        self._preexec = die_with_parent if has_children else die_at_once_with_parent
        self._process: asyncio.subprocess.Process | None = None
        self._ended_by_test = False

    @property
    def died(self) -> bool:
        """Whether it has exited although the test did not stop it."""
        return self._process is not None and self._process.returncode is not None and not self._ended_by_test

    @property
    def pid(self) -> int:
        """The pid of the running process.

        Raises:
            AssertionError: it is not running.
        """
        assert self.alive, f"{self.name} does not run"
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process exists; it may be paused."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start the process unless it is running. Does not wait until it is ready."""
        if self.alive:
            return
        self._ended_by_test = False
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.env,
                start_new_session=True,
                preexec_fn=self._preexec,
            )

    async def wait_until_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until the server is ready.

        Raises:
            AssertionError: it exited or was not ready within `timeout_s`; the message has the end of its log.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                await asyncio.to_thread(self._probe)
            except NotReadyError as error:
                if not self.alive:
                    raise AssertionError(f"{self.name} exited: {error}\n{self.log_tail()}") from error
                if time.monotonic() > deadline:
                    raise AssertionError(
                        f"{self.name}: not within {timeout_s} s: {error}\n{self.log_tail()}"
                    ) from error
                await asyncio.sleep(_POLL_INTERVAL_S)
            else:
                return

    def send(self, number: signal.Signals) -> None:
        """Send a signal; a no-op without a process."""
        if self.alive:
            self._ended_by_test |= number in _ENDING
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def kill(self) -> None:
        """Send SIGKILL to the process and its children, and wait until it has exited."""
        process = self._process
        if process is None:
            return
        self._ended_by_test |= self.alive
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()

    async def terminate(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Send SIGTERM and wait until the process has exited.

        Returns:
            The exit code; negative for the signal that ended it.

        Raises:
            AssertionError: it did not exit within `timeout_s` and was killed.
        """
        process = self._process
        assert process is not None, f"{self.name} was never started"
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(timeout_s):
                return await process.wait()
        except TimeoutError:
            await self.kill()
            raise AssertionError(f"{self.name} did not stop within {timeout_s} s\n{self.log_tail()}") from None

    async def ended(self, timeout_s: float) -> int:
        """Wait until the process exits by itself, as the test intends. Return the exit code like `terminate`.

        Raises:
            AssertionError: it did not exit within `timeout_s`.
        """
        process = self._process
        assert process is not None, f"{self.name} was never started"
        self._ended_by_test = True
        try:
            async with asyncio.timeout(timeout_s):
                return await process.wait()
        except TimeoutError:
            raise AssertionError(f"{self.name} did not exit within {timeout_s} s\n{self.log_tail()}") from None

    def pause(self) -> None:
        """Send SIGSTOP."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Send SIGCONT."""
        self.send(signal.SIGCONT)

    async def restart(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Kill the process if it is running, start it again, and wait until it is ready."""
        await self.kill()
        await self.start()
        await self.wait_until_ready(timeout_s)

    @property
    def log(self) -> str:
        """The log of all its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_tail(self, lines: int = 25) -> str:
        """Return the end of the log."""
        return "\n".join(self.log.splitlines()[-lines:])

    def resources(self) -> Resources | None:
        """Return what the process uses now; None if it is not running."""
        if not self.alive:
            return None
        proc = Path("/proc") / str(self.pid)
        try:
            pages = int((proc / "statm").read_text().split()[1])
            files = sum(1 for _ in (proc / "fd").iterdir())
        except OSError:
            return None
        return Resources(pages * os.sysconf("SC_PAGE_SIZE"), files)
