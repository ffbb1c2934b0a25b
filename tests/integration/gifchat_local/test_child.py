"""One supervised process, with real processes."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from gifchat_local.child import Child, ChildState, ProcessSpec
from gifchat_local.kinds import Kind

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
        self.failed: list[Child] = []

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def child_of(program: str, folder: Path, stop_timeout_s: float = 10.0) -> AsyncIterator[tuple[Child, Watcher]]:
    watcher = Watcher()
    spec = ProcessSpec(
        name="thing-1",
        kind=Kind.WEB,
        port=0,
        command=[sys.executable, "-c", program],
        probe=lambda: None,
        env={},
        stop_timeout_s=stop_timeout_s,
    )
    child = Child(
        spec,
        folder / "thing-1.log",
        on_line=lambda _name, _kind, line: watcher.lines.append(line),
        on_event=watcher.events.append,
        on_ready=lambda child: watcher.ready.append(child.pid),
        on_failed=watcher.failed.append,
    )
    child.start()
    try:
        yield child, watcher
    finally:
        await child.stop()


async def test_its_output_is_logged_and_a_stop_is_no_crash(tmp_path: Path) -> None:
    async with child_of(SLEEPER, tmp_path) as (child, watcher):
        await watcher.until(lambda: watcher.lines == ["up"])
        await child.wait_until_ready()
        assert child.state is ChildState.READY
    assert (child.state, child.pid, watcher.events) == (ChildState.STOPPED, None, [])
    assert (tmp_path / "thing-1.log").read_text() == "up\n"


async def test_a_killed_process_is_restarted_and_shown_as_such(tmp_path: Path) -> None:
    async with child_of(SLEEPER, tmp_path) as (child, watcher):
        await watcher.until(lambda: watcher.lines == ["up"] and len(watcher.ready) == 1)
        first = child.pid
        child.send(signal.SIGKILL)
        await watcher.until(lambda: watcher.lines == ["up", "up"])
        assert child.pid != first
        assert child.restarts == 1
        await child.wait_until_ready()
        assert watcher.ready == [first, child.pid]
        assert watcher.events[0].startswith("thing-1 was ended by SIGKILL after ")


async def test_after_three_crashes_it_is_given_up(tmp_path: Path) -> None:
    async with child_of(CRASHER, tmp_path) as (child, watcher):
        await watcher.until(lambda: bool(watcher.failed))
        assert child.state is ChildState.FAILED
        assert watcher.lines == ["no luck"] * 3
        assert watcher.events[-1] == "thing-1 ended with exit code 3: 3 crashes within a minute."


async def test_a_process_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    async with child_of(STUBBORN, tmp_path, stop_timeout_s=0.2) as (child, watcher):
        await watcher.until(lambda: watcher.lines == ["up"])
    assert child.pid is None
    assert watcher.events == ["thing-1 did not stop within 0.2 s: killed."]
