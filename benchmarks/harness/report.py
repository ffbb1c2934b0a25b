"""Writes `benchmarks/README.md` and its plots from `results/`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import plot

_INTRODUCTION = """# Benchmarks

What a delivery, a connection and a message cost in GIF Chat, compared with Node's Socket.IO, stock python-socketio,
and a C program that only sends. `make bench` writes this page.

## How to reproduce

```
make bench                                          # everything; keep the machine idle
.venv/bin/python -m benchmarks --case room-1000     # one question
.venv/bin/python -m benchmarks --quick              # only checks that everything runs, in a few minutes
.venv/bin/python -m benchmarks --report             # only writes this page, from results/
```

You need Linux, gcc, Node.js 18 or newer with npm, and `taskset` (util-linux). Node's packages are installed on first
use, from their lock file.

Stop your container engine first, and remove its packet-filter rules. They track every connection, loopback included.
On this machine they made a `send` a third more expensive for every server.

Use a Python built with optimizations (`--enable-optimizations`), like those of distributions and container images.
The figures come from Debian's: `make bench PYTHON=/usr/bin/python3`, before `.venv` exists. With a Python built
without them, as pyenv does by default, a connect cost the Python servers 8 to 13 % more.

## How it is measured

- The measured server has one core to itself. The load, Valkey, mongod and stand-ins share the other core.
- The load generator is [a C program on epoll](../cli/src/gifchat_cli/bench/load_generator.c), the same one that
  `gifchat bench` uses. It counts every delivery on every connection and checks the order. **A run with a missing,
  duplicated or reordered delivery fails.** It also reports how busy it was.
- All servers get the same chat event from a real Valkey, as if another node had sent it. Each gets it on its own
  channel and in its own format. GIF Chat's gateway is the shipped product: sessions, admission and leases in Valkey,
  ordering, the ring for returning clients, metrics, logs. Where rooms-api is not the question, [a
  stand-in](peers/rooms_api_stand_in.py) provides its records.
- The most reliable figure is the server's CPU time per delivery, measured by the kernel for all threads of the
  process, user and system. Wall-clock times depend more on the machine.
- All servers are connected and warmed up first, then measured in turn: A B C A B C. Tables show the median, with the
  minimum and maximum of all rounds.
"""


def write(folder: Path, cases: Sequence[str]) -> None:
    """Write the page and the plots."""
    results = [json.loads(file.read_text()) for case in cases if (file := folder / "results" / f"{case}.json").exists()]
    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    parts = [_INTRODUCTION, _bars(results), _machine(results)]
    for result in results:
        (plots / f"{result['case']}.svg").write_text(_plot(result))
        parts.append(_case(result))
    parts.append(_BEFORE_AND_AFTER)
    (folder / "README.md").write_text("\n".join(parts))


_BEFORE_AND_AFTER = """
## Before and after: a message and a visitor

µs of CPU time, measured on 2026-11-30 on one slow machine: commit 635fd0b first, and an hour later the state with
[ADR 22](../docs/adr/0022-what-a-visitor-costs.md) and [ADR 31](../docs/adr/0031-what-a-message-costs.md), one round
each.
The rows of a visitor before are from another hour, with other work on the machine.

| | before | after | the original |
| --- | --- | --- | --- |
| a message into a hot room, 500 a second: rooms-api | 1,641 | 579 | |
| mongod | 711 | 291 | |
| Valkey | 67 | 56 | |
| three gateways, with 60 deliveries | 274 | 161 | |
| all processes | 2,692 | 1,087 | 3,514 (300 a second) |
| each message in another room: rooms-api | 2,737 | 1,923 | |
| the list, in web | 1,340 | 157 | 1,598 |
| a room's page, in web | 1,322 | 580 | 942 |
| a static file, in web | 1,032 | 0 | 335 |
| a new visitor, all services but nginx | 7,766 | 240 | 2,107 |

Where it went, in rooms-api, with stores that answer at once: a POST took 579 and takes 125, the list 266 and 76, a room
133 and 32, a page of 50 messages 717 and 323.
"""


def _bars(results: Sequence[Mapping[str, Any]]) -> str:
    lines = ["## Bars\n", "| question | bar | measured | |", "| --- | --- | --- | --- |"]
    for result in results:
        for bar in result["bars"]:
            limit = f"{'≤' if bar['at_most'] else '≥'} {plot.number(bar['limit'])}"
            lines.append(
                f"| [{result['title']}](#{_anchor(result['title'])}) | {bar['bar']} "
                f"| {plot.number(bar['value'])} ({limit}) | {'met' if bar['met'] else '**not met**'} |"
            )
    return "\n".join([*lines, ""])


def _machine(results: Sequence[Mapping[str, Any]]) -> str:
    machines = {json.dumps(result["machine"], sort_keys=True): result["machine"] for result in results}
    lines = ["## Machine\n"]
    for machine in machines.values():
        lines += ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in machine.items()), ""]
    return "\n".join(lines)


def _case(result: Mapping[str, Any]) -> str:
    columns = result["columns"]
    lines = [
        f"## {result['title']}\n",
        f"![{result['title']}](plots/{result['case']}.svg)\n",
        f"| | {' | '.join(columns.values())} |",
        f"| --- |{' --- |' * len(columns)}",
    ]
    for label, row in result["rows"].items():
        lines.append(f"| {label} | {' | '.join(_cell(row[name]) if name in row else '' for name in columns)} |")
    rounds = max((len(figure["values"]) for row in result["rows"].values() for figure in row.values()), default=0)
    lines.append(
        f"\n{rounds} round{'' if rounds == 1 else 's'}; load average before the run: {result['load_average']:.1f}."
    )
    lines += result["notes"]
    return "\n".join([*lines, ""])


def _cell(figure: Mapping[str, Any]) -> str:
    if figure["min"] == figure["max"]:
        return plot.number(figure["median"])
    return f"{plot.number(figure['median'])} ({plot.number(figure['min'])}–{plot.number(figure['max'])})"


def _plot(result: Mapping[str, Any]) -> str:
    if result["curves"]:
        x_axis, y_axis = result["axes"]
        return plot.lines(result["title"], x_axis, y_axis, result["curves"])
    name, unit = next(iter(result["columns"].items()))
    rows = {
        label: (row[name]["median"], row[name]["min"], row[name]["max"])
        for label, row in result["rows"].items()
        if name in row
    }
    return plot.bars(result["title"], unit, rows)


def _anchor(title: str) -> str:
    kept = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")
