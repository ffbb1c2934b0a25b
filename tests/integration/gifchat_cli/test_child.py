"""Supervision of one process, with real processes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from gifchat_cli.child import Child, ChildState, ProcessSpec
from gifchat_cli.data_folder import DataFolder
from gifchat_cli.kinds import Kind
from gifchat_cli.logs import tail
from gifchat_cli.restart_policy import STEADY_S
from gifchat_cli.servers.readiness import NotReadyError
from gifchat_cli.supervisor import rotate_logs

DEADLINE_S = 20.0
SLEEPER = "import signal, time; print('up', flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
CRASHER = "print('no luck'); raise SystemExit(3)"


class Watcher:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.events: list[str] = []
        self.ready: list[int | None] = []
        self.crash_loops: list[Child] = []

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def child_of(
    program: str,
    folder: Path,
    *,
    stop_timeout_s: float = 10.0,
    ready: Callable[[], bool] = lambda: True,
    keep_trying: bool = True,
    steady_s: float = STEADY_S,
) -> AsyncIterator[tuple[Child, Watcher]]:
    watcher = Watcher()

    def probe() -> None:
        if not ready():
            raise NotReadyError

    def on_crash_loop(child: Child) -> bool:
        watcher.crash_loops.append(child)
        return keep_trying

    spec = ProcessSpec(
        name="thing-1",
        kind=Kind.WEB,
        port=0,
        command=[sys.executable, "-c", program],
        probe=probe,
        env={},
        stop_timeout_s=stop_timeout_s,
    )
    child = Child(
        spec,
        folder / "thing-1.log",
        on_line=lambda _name, _kind, line: watcher.lines.append(line),
        on_event=watcher.events.append,
        on_ready=lambda child: watcher.ready.append(child.pid),
        on_crash_loop=on_crash_loop,
        steady_s=steady_s,
    )
    child.start()
    try:
        yield child, watcher
    finally:
        await child.stop()


async def test_old_logs_of_running_processes_are_rotated_and_nginx_reopens_its_own(tmp_path: Path) -> None:
    reopens = "import signal, time; signal.signal(signal.SIGUSR1, lambda *_: print('reopened', flush=True));"
    data = DataFolder(tmp_path)
    data.create()
    async with child_of(reopens + "print('up', flush=True); time.sleep(600)", data.logs) as (nginx, watcher):
        await watcher.until(lambda: watcher.lines == ["up"])
        access = data.log("nginx-access")
        access.write_text("a request\n")
        day_s = 24 * 3_600.0
        midnight_s = 20_000 * day_s
        for path in (access, nginx.log_path):
            os.utime(path, (midnight_s - 10, midnight_s - 10))
        rotate_logs(data, {"nginx": nginx}, day_s, midnight_s - 1)
        assert access.exists()
        rotate_logs(data, {"nginx": nginx}, day_s, midnight_s + 1)
        await watcher.until(lambda: watcher.lines == ["up", "reopened"])
        assert not access.exists()
        assert tail(access.with_name("nginx-access.log.1"), 9) == ["a request"]
        assert tail(nginx.log_path.with_name("thing-1.log.1"), 9) == ["up"]
        rotate_logs(data, {"nginx": nginx}, day_s, midnight_s + day_s)
        assert [path.name for path in data.logs.iterdir()] == ["thing-1.log"]


async def test_output_is_logged_and_a_stop_is_not_a_crash(tmp_path: Path) -> None:
    async with child_of(SLEEPER, tmp_path) as (child, watcher):
        await watcher.until(lambda: watcher.lines == ["up"])
        await child.wait_until_settled()
        assert child.state is ChildState.READY
    assert (child.state, child.pid, watcher.events) == (ChildState.STOPPED, None, [])
    assert (tmp_path / "thing-1.log").read_text() == "up\n"


async def test_a_killed_process_restarts_and_its_restarts_are_counted(tmp_path: Path) -> None:
    async with child_of(SLEEPER, tmp_path) as (child, watcher):
        await watcher.until(lambda: watcher.lines == ["up"] and len(watcher.ready) == 1)
        first = child.pid
        child.send(signal.SIGKILL)
        await watcher.until(lambda: watcher.lines == ["up", "up"])
        assert child.pid != first
        assert child.restarts == 1
        await child.wait_until_settled()
        assert watcher.ready == [first, child.pid]
        assert watcher.events[0].startswith("thing-1 was killed by SIGKILL after ")


async def test_three_crashes_are_fatal_if_no_other_process_can_serve(tmp_path: Path) -> None:
    async with child_of(CRASHER, tmp_path, keep_trying=False) as (child, watcher):
        await watcher.until(lambda: bool(watcher.crash_loops))
        assert child.state is ChildState.FAILED
        assert watcher.lines == ["no luck"] * 3
        assert watcher.events[-1] == "thing-1 exited with code 3: 3 crashes within a minute."


async def test_a_crash_loop_ends_once_the_process_stays_ready(tmp_path: Path) -> None:
    mended = tmp_path / "mended"
    program = f"import pathlib, time; pathlib.Path({str(mended)!r}).exists() or exit('no luck'); time.sleep(600)"
    async with child_of(program, tmp_path, ready=mended.exists, steady_s=0.5) as (child, watcher):
        await child.wait_until_settled()
        assert child.state is ChildState.CRASH_LOOP
        assert watcher.crash_loops == [child]
        await watcher.until(lambda: child.restarts == 4)
        assert (child.state, watcher.crash_loops, watcher.ready) == (ChildState.CRASH_LOOP, [child], [])
        mended.touch()
        await watcher.until(lambda: child.pid is not None)
        pid = child.pid
        assert child.state is ChildState.CRASH_LOOP, "the process has not been ready for long enough"
        await watcher.until(lambda: bool(watcher.ready))
        assert (child.state, watcher.ready) == (ChildState.READY, [pid])
        child.send(signal.SIGKILL)
        await watcher.until(lambda: len(watcher.ready) == 2)
    assert watcher.events[-1].endswith("restarting in 0.5 s."), "crashes before a recovery no longer count"


async def test_a_crash_soon_after_readiness_continues_the_crash_loop(tmp_path: Path) -> None:
    async with child_of("import time; time.sleep(0.3); exit(3)", tmp_path) as (child, watcher):
        await child.wait_until_settled()
        await watcher.until(lambda: child.restarts == 4)
        assert child.state is ChildState.CRASH_LOOP
        assert watcher.crash_loops == [child]


async def test_a_stop_ends_a_crash_loop_at_once(tmp_path: Path) -> None:
    async with child_of(CRASHER, tmp_path, ready=lambda: False) as (child, watcher):
        await child.wait_until_settled()
        assert watcher.crash_loops == [child]
        async with asyncio.timeout(1):
            await child.stop()
        assert child.state is ChildState.STOPPED
    assert watcher.lines == ["no luck"] * 3


async def test_a_process_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    async with child_of(STUBBORN, tmp_path, stop_timeout_s=0.2) as (child, watcher):
        await watcher.until(lambda: watcher.lines == ["up"])
    assert child.pid is None
    assert watcher.events == ["thing-1 did not stop within 0.2 s: killed."]
