"""Tables for the terminal; plain text if the output is not a terminal."""

import sys
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

COLUMNS = ("name", "kind", "pid", "port", "state", "sockets", "restarts")
_STYLES = {"ready": "green", "drained": "yellow", "unready": "yellow", "restarting": "yellow", "crash loop": "red"}
_UNBOUNDED = 10_000
"""The width for files and pipes, so that nothing is wrapped or cut."""


def render_table(rows: Sequence[Mapping[str, object]], columns: Sequence[str] = COLUMNS) -> str:
    """One line per row under a heading; numbers are right-aligned, and `–` stands for a missing value."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        numeric = bool(rows) and all(isinstance(row.get(column), int | None) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    console = Console(width=None if sys.stdout.isatty() else _UNBOUNDED)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _cell(value: object) -> Text:
    text = "–" if value is None else str(value)
    return Text(text, style=_STYLES.get(text, ""))
