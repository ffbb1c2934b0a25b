"""`benchmarks/README.md` and its plots, from what is in `results/`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import plot

_INTRODUCTION = """# Benchmarks

What a delivery, a connection and a message cost in GIF Chat, beside Node's Socket.IO, stock python-socketio, and a C
program that does nothing but the sends. This page is written by `make bench`.

## How to reproduce

```
make bench                                          # everything; keep the machine quiet
.venv/bin/python -m benchmarks --case room-1000     # one question
.venv/bin/python -m benchmarks --quick              # whether everything runs, in a few minutes; keeps no figures
.venv/bin/python -m benchmarks --against ../before  # also the gateway of another checkout; keeps no figures
.venv/bin/python -m benchmarks --report             # only this page, from results/
```

It takes gcc, Node.js 18 or newer with npm, and `taskset` (util-linux), on Linux. Node's packages are installed at
first use, by their lock file.

A container engine's packet filter tracks every connection, loopback's too, and made a `send` on this machine a third
dearer for all servers alike: stop the engine and remove its rules first.

The figures are of a Python built with its optimizations (`--enable-optimizations`), as those of distributions and of
container images are: here Debian's, `make bench PYTHON=/usr/bin/python3` where there is no `.venv` yet. On one that was
compiled without them, as pyenv does by default, a connect took the Python servers 8 to 13 % more.

## How it is measured

- The server that is measured has one core to itself; the load, Valkey, mongod and stand-ins have the other.
- The load generator is [a C program on epoll](../cli/src/gifchat_cli/bench/load_generator.c), the same
  that `gifchat bench` uses. It counts every delivery on every connection and checks its order; **a run in which one is
  missing, doubled or out of order fails**. It says how busy it was itself.
- All servers get the same chat event from a real Valkey, on the channel and in the format of their own, as if another
  node had sent it. GIF Chat's gateway is the product as it is shipped: sessions, admission and leases in Valkey, the
  order of the log, the ring for those who come back, metrics, logs. Only rooms-api's records come from
  [a stand-in](peers/rooms_api_stand_in.py), where rooms-api is not the question.
- The figure that says most is the server's CPU time per delivery: by the kernel's clock of that process, all of its
  threads, user and system. Times on the wall depend more on the machine.
- All servers are connected and warmed up, then measured in turn, A B C A B C …; a table shows the median, and the
  least and the most of the rounds.
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
    (folder / "README.md").write_text("\n".join(parts))


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
        f"\n{rounds} round{'' if rounds == 1 else 's'}; load average of the machine before: "
        f"{result['load_average']:.1f}."
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
