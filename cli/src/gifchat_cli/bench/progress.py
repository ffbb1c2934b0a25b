"""Reports progress on standard error: a bar on a terminal, otherwise one line per step."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from gifchat_cli.bench.ramp import Step


class Progress:
    """Progress towards `max_viewers` viewers."""

    def __init__(self, max_viewers: int) -> None:
        self._max_viewers = max_viewers
        self._bar: Bar | None = None
        self._task = TaskID(0)
        self._from = self._to = 0

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the bar until the block ends."""
        if not sys.stderr.isatty():
            yield
            return
        with Bar(BarColumn(), TextColumn("{task.description}"), console=Console(stderr=True)) as self._bar:
            self._task = self._bar.add_task("starting", total=self._max_viewers)
            yield
        self._bar = None

    def begin_step(self, viewers: int) -> None:
        """Show that a step to this many viewers begins."""
        self._from, self._to = self._to, viewers
        self._show(f"{viewers:,} viewers connect", self._from)

    def part(self, share: float) -> None:
        """Show the share of the step's messages that have been posted."""
        self._show(f"{self._to:,} viewers read", self._from + round((self._to - self._from) * share))

    def end_step(self, step: Step) -> None:
        """Show the measurements of a step."""
        text = f"{step.viewers:,} viewers: p50 {step.p50_ms:.1f} ms, p99 {step.p99_ms:.1f} ms"
        if self._bar is None:
            self.say(text)
        self._show(text, self._to)

    def say(self, sentence: str) -> None:
        """Print a line above the bar."""
        if self._bar is None:
            print(sentence, file=sys.stderr, flush=True)
        else:
            self._bar.console.print(sentence, markup=False, highlight=False)

    def _show(self, text: str, viewers: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, description=text, completed=viewers)
