"""Child processes without a supervisor: started, signalled and restarted by the test alone; none outlives it."""

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
_LOOK_EVERY_S = 0.02
_PR_SET_PDEATHSIG = 1
_ENDING = {signal.SIGTERM, signal.SIGINT, signal.SIGKILL}
_PORTS = range(12_000, 30_000)
"""Below the ports that Linux gives to outgoing connections: one of those would keep a killed server from restarting."""
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def lasting_port(taken: Collection[int]) -> int:
    """A free port that stays free while its server is away; none of `taken`."""
    while True:
        port = random.choice(_PORTS)  # noqa: S311 - spreads clusters that start at the same time
        if port not in taken and is_free(port):
            return port


def die_at_once_with_parent() -> None:
    """A `preexec_fn` like `parent_death.die_with_parent`, by SIGKILL: it ends a stopped process too (Linux only)."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Resources:
    """What a process uses."""

    rss_bytes: int
    files: int
    """Open file descriptors."""


class ServerProcess:
    """One server under one name. It is restarted only by `start`, with the same command line and ports."""

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
        """`probe` returns when the server is ready and raises `NotReadyError` when not; it may block, in a thread.

        `has_children`: the process is told by SIGTERM when the test is gone, so that it takes its children along.
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
        """Whether it has ended although nobody here asked it to."""
        return self._process is not None and self._process.returncode is not None and not self._ended_by_test

    @property
    def pid(self) -> int:
        """Of the running process.

        Raises:
            AssertionError: there is none.
        """
        assert self.alive, f"{self.name} does not run"
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether there is a process, be it stopped by SIGSTOP."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it, where it does not run; readiness is another question."""
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
        """Return when the server says that it is ready.

        Raises:
            AssertionError: not within `timeout_s`, or it ended; the end of its log is in the message.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                await asyncio.to_thread(self._probe)
            except NotReadyError as error:
                if not self.alive:
                    raise AssertionError(f"{self.name} ended: {error}\n{self.log_tail()}") from error
                if time.monotonic() > deadline:
                    raise AssertionError(
                        f"{self.name}: not within {timeout_s} s: {error}\n{self.log_tail()}"
                    ) from error
                await asyncio.sleep(_LOOK_EVERY_S)
            else:
                return

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing where there is no process."""
        if self.alive:
            self._ended_by_test |= number in _ENDING
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def kill(self) -> None:
        """SIGKILL, children included, and wait for the end."""
        process = self._process
        if process is None:
            return
        self._ended_by_test |= self.alive
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()

    async def terminate(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """SIGTERM, and wait for the end.

        Returns:
            The exit code; negative: the signal that ended it.

        Raises:
            AssertionError: it did not end within `timeout_s`; it was killed then.
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
        """Wait for an end that the test has prepared inside of the process; the exit code, as of `terminate`.

        Raises:
            AssertionError: it did not end within `timeout_s`.
        """
        process = self._process
        assert process is not None, f"{self.name} was never started"
        self._ended_by_test = True
        try:
            async with asyncio.timeout(timeout_s):
                return await process.wait()
        except TimeoutError:
            raise AssertionError(f"{self.name} did not end within {timeout_s} s\n{self.log_tail()}") from None

    def pause(self) -> None:
        """SIGSTOP."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.send(signal.SIGCONT)

    async def restart(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Kill it if it runs, start it again, and wait until it is ready."""
        await self.kill()
        await self.start()
        await self.wait_until_ready(timeout_s)

    @property
    def log(self) -> str:
        """Its log, over all of its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_tail(self, lines: int = 25) -> str:
        """The end of its log."""
        return "\n".join(self.log.splitlines()[-lines:])

    def resources(self) -> Resources | None:
        """What the process uses now; None where it does not run."""
        if not self.alive:
            return None
        proc = Path("/proc") / str(self.pid)
        try:
            pages = int((proc / "statm").read_text().split()[1])
            files = sum(1 for _ in (proc / "fd").iterdir())
        except OSError:
            return None
        return Resources(pages * os.sysconf("SC_PAGE_SIZE"), files)
