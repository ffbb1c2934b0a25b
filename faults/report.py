"""Results of rows as files, one for each row so that rows can run apart, and the table of all of them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from faults.judge.checker import percentile
from faults.row import Row, slug
from faults.run import Run

_HEAD = """\
# Faults

What we broke under load, and how the system coped. `make faults` generates this page from `tests/faults/results/`;
do not edit it.

Every run uses real servers. Readers on both transports and writers connect through nginx, and clients record everything
that they send, receive and show. The checker (`faults/judge/checker.py`) sees only these records and a dump of the
database.

- *Lost*: acknowledged messages that the database does not have, or that a reader who stayed or came back never got.
- *Duplicated*: sent again after one join, shown twice or stored twice.
- *Disordered*: a hole or a step back in what was sent, shown or stored.
- *Over-admitted*: members, or users who receive one event, above `max`.
- *To heal*: from the end of the fault to the last acknowledgement or delivery that was more than 0.5 s late.
- *To resume*: from a reader's lost connection to its next join.
- *Ghosts*: the longest time that a seat stayed taken after its user was gone.
"""


@dataclass(frozen=True, slots=True)
class Results:
    """A row's results, as they are kept."""

    row: str
    fault: str
    mutant: bool
    runs: list[dict[str, Any]]

    @property
    def good(self) -> int:
        """How many runs came out as they should."""
        return sum(bool(run["as_expected"]) for run in self.runs)


def results_of(row: Row, runs: Sequence[Run]) -> Results:
    """What is kept of `runs`."""
    return Results(row.name, row.fault, row.is_mutant, [_kept(row, run) for run in runs])


def _kept(row: Row, run: Run) -> dict[str, Any]:
    verdict = asdict(run.verdict)
    verdict["resume_s"] = [round(seconds, 3) for seconds in run.verdict.resume_s]
    verdict |= {name: round(verdict[name], 3) for name in ("heal_s", "ghosts_max_s")}
    return {
        "seed": run.seed,
        "as_expected": run.as_expected(row),
        "took_s": round(run.took_s, 1),
        "error": run.error.split("\n", 1)[0],
        "figures": {name: round(value, 3) for name, value in run.figures.items()},
        **verdict,
    }


def file_of(folder: Path, row_name: str) -> Path:
    """Where a row's results are kept."""
    return folder / f"{slug(row_name)}.json"


def write_results(folder: Path, results: Results) -> None:
    """Keep them, in place of earlier ones."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(results), indent=1, ensure_ascii=False)
    file_of(folder, results.row).write_text(text + "\n", encoding="utf-8")


def read_results(folder: Path) -> list[Results]:
    """All that are kept."""
    return [Results(**json.loads(path.read_text(encoding="utf-8"))) for path in sorted(folder.glob("*.json"))]


def document(rows: Sequence[Row], kept: Sequence[Results]) -> str:
    """The text of `docs/faults.md`, in the order of `rows`; rows without results say so."""
    by_name = {results.row: results for results in kept}
    lines = [
        _HEAD,
        "| fault | runs | acknowledged | lost | duplicated | disordered | over-admitted "
        "| to heal p50 / p99, s | to resume p50 / p99, s | also |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_line(row, by_name.get(row.name)) for row in rows if not row.is_mutant]
    lines += [
        "",
        "## Mutants",
        "",
        "The checker itself is tested: we remove one guarantee from the gateway, and the checker must fail.",
        "",
        "| removed | runs | caught | by |",
        "| --- | --- | --- | --- |",
    ]
    lines += [_mutant_line(row, by_name.get(row.name)) for row in rows if row.is_mutant]
    return "\n".join(lines) + "\n"


def _line(row: Row, results: Results | None) -> str:
    what = f"**{row.name}**: {row.fault}"
    if results is None or not results.runs:
        return f"| {what} | 0 | – | – | – | – | – | – | – | |"
    runs = results.runs

    def total(*names: str) -> int:
        return sum(run[name] for run in runs for name in names)

    cells = [
        what,
        str(len(runs)),
        f"{total('acknowledged'):,}",
        str(total("lost", "false_acks", "unsettled")),
        str(total("duplicated")),
        str(total("out_of_order")),
        str(total("over_admitted")),
        _two([run["heal_s"] for run in runs]),
        _two([seconds for run in runs for seconds in run["resume_s"]]),
        "; ".join(_more(runs)),
    ]
    return "| " + " | ".join(cells) + " |"


def _more(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Further figures, where there are any."""
    more = []
    if ghosts := [run["ghosts_max_s"] for run in runs if run["ghosts_max_s"]]:
        more.append(f"ghosts at most {max(ghosts):.1f} s")
    if peak := max(run["peak_reconnects_per_s"] for run in runs):
        more.append(f"at most {peak} reconnects in a second")
    if resyncs := sum(run["resyncs"] for run in runs):
        more.append(f"{resyncs} resyncs")
    for name in sorted({name for run in runs for name in run["figures"]}):
        values = [run["figures"][name] for run in runs if name in run["figures"]]
        more.append(f"{name} {percentile(values, 50):g} (at most {max(values):g})")
    for name in ("seats_lost", "ghosts", "crossed", "leaked", "reconnects", "slow"):
        if count := sum(run[name] for run in runs):
            more.append(f"**{name} {count}**")
    if failed := [run["seed"] for run in runs if run["error"]]:
        more.append(f"**seeds {failed} did not run to their end**")
    return more


def _mutant_line(row: Row, results: Results | None) -> str:
    if results is None or not results.runs:
        return f"| **{row.name}**: {row.fault} | 0 | – | – |"
    found = sorted({breach for run in results.runs for breach in run["breaches"]})
    return f"| **{row.name}**: {row.fault} | {len(results.runs)} | {results.good} | {', '.join(found)} |"


def _two(values: Sequence[float]) -> str:
    return f"{percentile(values, 50):.2f} / {percentile(values, 99):.2f}" if values else "–"
