"""A status as a table for a person."""

from collections.abc import Mapping, Sequence

COLUMNS = ("name", "kind", "pid", "port", "state", "sockets", "restarts")


def render_table(processes: Sequence[Mapping[str, object]], columns: Sequence[str] = COLUMNS) -> str:
    """One line per process under a headline; numbers to the right, `–` where there is no value."""
    rows = [[_text(process.get(column)) for column in columns] for process in processes]
    widths = [max(len(cell) for cell in cells) for cells in zip(columns, *rows, strict=True)]
    numeric = [
        all(isinstance(process.get(column), int | None) for process in processes) and bool(processes)
        for column in columns
    ]
    return "\n".join(_line(cells, widths, numeric) for cells in [[*columns], *rows])


def _line(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    parts = (
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(cells, widths, numeric, strict=True)
    )
    return "  ".join(parts).rstrip()


def _text(value: object) -> str:
    return "–" if value is None else str(value)
