"""The result of a bench, on one page."""

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
    """The complete result, to be printed as text or JSON."""

    url: str
    viewers: int
    """The largest audience that got everything in time."""
    deliveries_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    stopped_by: Stop
    why: str
    machine: Mapping[str, str]
    cluster: Mapping[str, int] | None
    """Kind → ready processes; None if the bench did not measure the data folder's cluster."""
    gateways: int
    """The number of gateways that held viewers."""
    room_size: int
    rooms: int
    rate: float
    hold_s: float
    p99_limit_ms: float
    steps: list[Step]
    repeat: str


def render(result: Result) -> str:
    """Return the result as text."""
    stopped = textwrap.fill(f"Stopped: {result.why}", _WIDTH, initial_indent="  ", subsequent_indent="  ")
    lines = [f"GIF Chat at {result.url}", "", f"  {_headline(result)}", stopped, ""]
    lines += [f"{name:<8}  {text}" for name, text in _facts(result)]
    if result.steps:
        lines += ["", render_table([_row(step) for step in result.steps], COLUMNS)]
    return "\n".join([*lines, "", f"Again: {result.repeat}"])


def _headline(result: Result) -> str:
    if not result.viewers:
        return "The cluster did not hold the first step."
    return (
        f"{result.viewers:,} viewers held: {result.deliveries_per_s:,.0f} deliveries a second, "
        f"p50 {result.p50_ms:.1f} ms, p99 {result.p99_ms:.1f} ms."
    )


def _facts(result: Result) -> list[tuple[str, str]]:
    machine = result.machine
    rooms = "one room" if result.rooms == 1 else f"{result.rooms} rooms of {result.room_size}"
    spread = f"viewers on {_counted(result.gateways, 'gateway')}" if result.gateways else "no viewer was admitted"
    cluster = ", ".join(_counted(number, kind) for kind, number in (result.cluster or {}).items())
    return [
        ("machine", f"{machine['cores']} × {machine['processor']}, {machine['memory']}, {machine['kernel']}"),
        ("cluster", f"{cluster}; {spread}" if cluster else spread),
        ("load", f"{rooms}, one writer, {result.rate:g} messages/s in total, {result.hold_s:g} s per step"),
        ("limit", f"p99 {result.p99_limit_ms:g} ms, from when a message was due until a viewer received its last byte"),
    ]


def _counted(number: int, kind: str) -> str:
    return f"{number} {kind}" + ("s" if number != 1 and not kind.endswith("api") else "")


def _row(step: Step) -> dict[str, Any]:
    """Pad each number to its column's width, so that it is right-aligned."""
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
