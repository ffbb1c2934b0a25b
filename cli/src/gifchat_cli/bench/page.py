"""What a bench found, on one page."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gifchat_cli.bench.ramp import Step, Stop
from gifchat_cli.table import render_table

COLUMNS = ("viewers", "messages", "deliveries/s", "p50 ms", "p99 ms", "lost", "load")
_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Result:
    """All that is said, for a person or as JSON."""

    url: str
    viewers: int
    """How many were held."""
    deliveries_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    stopped_by: Stop
    why: str
    machine: Mapping[str, str]
    cluster: Mapping[str, int] | None
    """Ready processes by kind; None: it is not the one of the data folder."""
    gateways: int
    """Over which the viewers were spread."""
    room_size: int
    rooms: int
    rate: float
    hold_s: float
    p99_limit_ms: float
    steps: list[Step]
    repeat: str


def render(result: Result) -> str:
    """The page."""
    stopped = textwrap.fill(f"Stopped: {result.why}", _WIDTH, initial_indent="  ", subsequent_indent="  ")
    lines = [f"GIF Chat at {result.url}", "", f"  {_headline(result)}", stopped, ""]
    lines += [f"{name:<8}  {text}" for name, text in _facts(result)]
    if result.steps:
        lines += ["", render_table([_row(step) for step in result.steps], COLUMNS)]
    return "\n".join([*lines, "", f"Again: {result.repeat}"])


def _headline(result: Result) -> str:
    if not result.viewers:
        return "Not even the first step was held."
    return (
        f"{result.viewers:,} viewers held: {result.deliveries_per_s:,.0f} deliveries a second, "
        f"p50 {result.p50_ms:.1f} ms, p99 {result.p99_ms:.1f} ms."
    )


def _facts(result: Result) -> list[tuple[str, str]]:
    machine = result.machine
    rooms = "one room" if result.rooms == 1 else f"{result.rooms} rooms of {result.room_size}"
    spread = f"viewers on {_counted(result.gateways, 'gateway')}" if result.gateways else "no viewer got in"
    cluster = ", ".join(_counted(number, kind) for kind, number in (result.cluster or {}).items())
    return [
        ("machine", f"{machine['cores']} × {machine['processor']}, {machine['memory']}, {machine['kernel']}"),
        ("cluster", f"{cluster}; {spread}" if cluster else spread),
        ("load", f"{rooms}, one writer, {result.rate:g} messages/s in all, {result.hold_s:g} s a step"),
        ("limit", f"p99 {result.p99_limit_ms:g} ms, from when a message was to be sent to its last byte at a viewer"),
    ]


def _counted(number: int, kind: str) -> str:
    return f"{number} {kind}" + ("s" if number != 1 and not kind.endswith("api") else "")


def _row(step: Step) -> dict[str, Any]:
    """Texts as wide as their column: numbers stand to the right."""
    values = {
        "viewers": f"{step.viewers}",
        "messages": f"{step.messages}",
        "deliveries/s": f"{step.deliveries_per_s:.0f}",
        "p50 ms": f"{step.p50_ms:.1f}",
        "p99 ms": f"{step.p99_ms:.1f}",
        "lost": f"{step.lost}",
        "load": f"{step.load_share:.0%}",
    }
    return {name: text.rjust(len(name)) for name, text in values.items()}
