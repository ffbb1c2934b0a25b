"""What is said while it runs, on standard error: a bar on a terminal, elsewhere a line for each step."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from gifchat_cli.bench.ramp import Step


class Progress:
    """The way to `most` viewers."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bar: Any = None
        self._text = "starting"
        self._from = self._to = 0

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The bar, for as long as there is something to show."""
        if not sys.stderr.isatty():
            yield
            return
        with click.progressbar(
            length=self._most,
            file=sys.stderr,
            show_eta=False,
            show_percent=False,
            item_show_func=lambda _: self._text,
        ) as self._bar:
            yield
        self._bar = None

    def begins(self, viewers: int) -> None:
        """A step to so many."""
        self._from, self._to = self._to, viewers
        self._text = f"{viewers:,} viewers connect"
        self._move_to(self._from)

    def part(self, share: float) -> None:
        """So much of the step's messages are written."""
        self._text = f"{self._to:,} viewers read"
        self._move_to(self._from + round((self._to - self._from) * share))

    def ends(self, step: Step) -> None:
        """The step is measured."""
        self._text = f"{step.viewers:,} viewers: p50 {step.p50_ms:.1f} ms, p99 {step.p99_ms:.1f} ms"
        if self._bar is None:
            self.say(self._text)
        self._move_to(self._to)

    def say(self, sentence: str) -> None:
        """A line of its own."""
        print(sentence, file=sys.stderr, flush=True)

    def _move_to(self, viewers: int) -> None:
        if self._bar is not None:
            self._bar.update(viewers - self._bar.pos)
            self._bar.render_progress()
