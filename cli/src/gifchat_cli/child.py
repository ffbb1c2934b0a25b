"""Supervises one process: starts, watches and stops it, and restarts it with a growing delay."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gifchat_cli.kinds import Kind
from gifchat_cli.logs import BoundedLog, LineSplitter
from gifchat_cli.parent_death import die_with_parent
from gifchat_cli.restart_policy import CRASH_LOOP_CRASHES, STEADY_S, RestartPolicy
from gifchat_cli.servers.readiness import NotReadyError

_PROBE_INTERVAL_S = 0.05


class ChildState(StrEnum):
    """The life cycle of a process."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    CRASH_LOOP = "crash loop"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to run, and how to tell that it is ready."""

    name: str
    kind: Kind
    port: int
    command: Sequence[str]
    probe: Callable[[], object]
    """Returns if the process is ready, else raises `NotReadyError`. Runs in a thread; may block for 2 s."""
    env: Mapping[str, str]
    stop_timeout_s: float = 15.0


class Child:
    """A process and its replacements after crashes, all under one name.

    `on_line(name, kind, line)` gets every line of output; `on_event(sentence)` gets every crash and restart.
    `on_ready(child)` is called each time the process becomes ready. `on_crash_loop(child)` is called when a crash
    loop begins: the child keeps restarting the process if it returns True, and fails if it returns False.
    """

    def __init__(
        self,
        spec: ProcessSpec,
        log_path: Path,
        *,
        on_line: Callable[[str, Kind, str], None],
        on_event: Callable[[str], None],
        on_ready: Callable[["Child"], None],
        on_crash_loop: Callable[["Child"], bool],
        steady_s: float = STEADY_S,
    ) -> None:
        """`steady_s`: how long a process must be ready to end a crash loop."""
        self.spec = spec
        self.state = ChildState.STOPPED
        self.pid: int | None = None
        self.restarts = 0
        self._log = BoundedLog(log_path)
        self._on_line = on_line
        self._on_event = on_event
        self._on_ready = on_ready
        self._on_crash_loop = on_crash_loop
        self._steady_s = steady_s
        self._policy = RestartPolicy()
        self._stopping = asyncio.Event()
        self._settled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def log_path(self) -> Path:
        """The log file."""
        return self._log.path

    def rotate_log_if_outdated(self, max_age_s: float, now_s: float) -> None:
        """See `BoundedLog`."""
        self._log.rotate_if_outdated(max_age_s, now_s)

    def start(self) -> None:
        """Start the process and keep it running until `stop`."""
        self.state = ChildState.STARTING
        self._task = asyncio.create_task(self._keep_running(), name=f"supervise {self.spec.name}")

    async def wait_until_settled(self) -> None:
        """Wait, without a timeout, until the process is ready or in a crash loop."""
        await self._settled.wait()

    async def stop(self) -> None:
        """Send SIGTERM and wait; send SIGKILL after the spec's stop timeout. May be called again."""
        self._stopping.set()
        if self._task is None:
            return
        if self.state is not ChildState.FAILED:
            self.state = ChildState.STOPPING
        self.send(signal.SIGTERM)
        done, _ = await asyncio.wait({self._task}, timeout=self.spec.stop_timeout_s)
        if not done:
            self._on_event(f"{self.spec.name} did not stop within {self.spec.stop_timeout_s:g} s: killed.")
            self._kill_group(self.pid)
            await asyncio.wait({self._task})
        if self.state is not ChildState.FAILED:
            self.state = ChildState.STOPPED
        self._log.close()

    def kill(self) -> None:
        """Send SIGKILL now and do not restart; the caller must still await `stop`."""
        self._stopping.set()
        self.send(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, if there is one."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def _keep_running(self) -> None:
        while not self._stopping.is_set():
            started_at = time.monotonic()
            code = await self._run_once()
            if self._stopping.is_set():
                return
            restart = self._policy.crashed(time.monotonic())
            ended = f"{self.spec.name} {_how_it_ended(code)}"
            if restart.crash_loop and self.state is not ChildState.CRASH_LOOP:
                self.state = ChildState.CRASH_LOOP
                self._on_event(f"{ended}: {CRASH_LOOP_CRASHES} crashes within a minute.")
                if not self._on_crash_loop(self):
                    self.state = ChildState.FAILED
                    return
                self._settled.set()
            else:
                if not restart.crash_loop:
                    self.state = ChildState.RESTARTING
                lived_s = time.monotonic() - started_at
                self._on_event(f"{ended} after {lived_s:.1f} s: restarting in {restart.delay_s:g} s.")
            self.restarts += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), restart.delay_s)

    async def _run_once(self) -> int:
        # Use our own pipe. With asyncio's, `wait` would also wait until nginx's workers close the pipe.
        read_end, write_end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *self.spec.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                env=self.spec.env,
                start_new_session=True,  # Only the supervisor gets the terminal's Ctrl-C.
                preexec_fn=die_with_parent,
            )
        except OSError as error:
            os.close(read_end)
            self._write(f"cannot start {self.spec.command[0]}: {error}".encode())
            return 127
        finally:
            os.close(write_end)
        self.pid = process.pid
        if self._stopping.is_set():
            self.send(signal.SIGTERM)
        reading = asyncio.create_task(self._read_output(read_end))
        becoming_ready = asyncio.create_task(self._watch_until_ready())
        try:
            return await process.wait()
        finally:
            becoming_ready.cancel()
            if self.state is not ChildState.CRASH_LOOP:
                self._settled.clear()
            self.pid = None
            # If nginx's master crashes, its workers would otherwise keep the port.
            self._kill_group(process.pid)
            await asyncio.wait({reading}, timeout=2.0)
            reading.cancel()

    async def _watch_until_ready(self) -> None:
        await self._probe_until_ready()
        if self.state is ChildState.CRASH_LOOP:
            await asyncio.sleep(self._steady_s)
            await self._probe_until_ready()
            self._policy.recovered()
        if not self._stopping.is_set():
            self.state = ChildState.READY
            self._on_ready(self)
        self._settled.set()

    async def _probe_until_ready(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self.spec.probe)
            except NotReadyError:
                await asyncio.sleep(_PROBE_INTERVAL_S)
            else:
                return

    async def _read_output(self, read_end: int) -> None:
        stream = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(read_end, "rb", buffering=0)
        )
        lines = LineSplitter()
        try:
            while data := await stream.read(64 * 1024):
                for line in lines.feed(data):
                    self._write(line)
            for line in lines.end():
                self._write(line)
        finally:
            transport.close()

    def _write(self, line: bytes) -> None:
        self._log.write(line)
        self._on_line(self.spec.name, self.spec.kind, line.decode(errors="replace"))

    @staticmethod
    def _kill_group(pid: int | None) -> None:
        if pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    return f"was killed by {signal.Signals(-code).name}"
