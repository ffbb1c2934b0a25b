"""The results of a row: its raw runs in an ignored folder, and one summary line in `results.jsonl`."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from faults.judge.checker import percentile
from faults.row import Row, slug
from faults.run import Run

HERE = Path(__file__).parent
RESULTS = HERE / "results.jsonl"
RUNS = HERE / "runs"
_COUNTS = (
    *("lost", "false_acks", "unsettled", "duplicated", "out_of_order", "over_admitted"),
    *("seats_lost", "ghosts", "crossed", "leaked", "reconnects", "slow"),
)
"""The fields of a verdict that count breaches."""


@dataclass(frozen=True, slots=True)
class RawRuns:
    """Every run of a row, with all its times."""

    row: str
    date: str
    commit: str
    """The commit that was tested, with `-dirty` if the files differed from it."""
    runs: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Summary:
    """A row's runs summarized over all seeds, as the page needs them."""

    row: str
    date: str
    commit: str
    seeds: list[int]
    good: int
    """Runs that ended as expected."""
    unfinished: list[int]
    """Seeds whose run failed before its end."""
    acknowledged: int
    delivered: int
    resyncs: int
    breaches: dict[str, int]
    """Field of the verdict → breaches; fields without a breach are left out."""
    heal_s: list[float]
    """p50 and p99."""
    resume_s: list[float]
    """p50 and p99; empty if no reader lost its connection."""
    ghosts_max_s: float
    peak_reconnects_per_s: int
    figures: dict[str, list[float]]
    """The row's own figures: name → p50 and maximum."""


def raw_runs(row: Row, runs: Iterable[Run]) -> RawRuns:
    """Collect a row's runs, stamped with today's date and the commit."""
    return RawRuns(row.name, datetime.now(UTC).date().isoformat(), _commit(), [_raw(row, run) for run in runs])


def _raw(row: Row, run: Run) -> dict[str, Any]:
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


def summarize(raw: RawRuns) -> Summary:
    """Reduce a row's runs to one line."""
    runs = raw.runs
    counts: Counter[str] = Counter()
    figures: dict[str, list[float]] = {}
    for run in runs:
        counts.update({name: run[name] for name in _COUNTS})
        for name, value in run["figures"].items():
            figures.setdefault(name, []).append(value)
    return Summary(
        row=raw.row,
        date=raw.date,
        commit=raw.commit,
        seeds=[run["seed"] for run in runs],
        good=sum(bool(run["as_expected"]) for run in runs),
        unfinished=[run["seed"] for run in runs if run["error"]],
        acknowledged=sum(run["acknowledged"] for run in runs),
        delivered=sum(run["delivered"] for run in runs),
        resyncs=sum(run["resyncs"] for run in runs),
        breaches={name: count for name, count in sorted(counts.items()) if count},
        heal_s=_p50_and_p99([run["heal_s"] for run in runs]),
        resume_s=_p50_and_p99([seconds for run in runs for seconds in run["resume_s"]]),
        ghosts_max_s=max((run["ghosts_max_s"] for run in runs), default=0.0),
        peak_reconnects_per_s=max((run["peak_reconnects_per_s"] for run in runs), default=0),
        figures={name: [percentile(values, 50), max(values)] for name, values in sorted(figures.items())},
    )


def write_raw(folder: Path, raw: RawRuns) -> None:
    """Write a row's runs to its own file, so that rows can run in separate processes."""
    folder.mkdir(parents=True, exist_ok=True)
    raw_file(folder, raw.row).write_text(json.dumps(asdict(raw), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_raw(folder: Path, row_name: str) -> RawRuns | None:
    """Read a row's runs; None if it has not run."""
    try:
        return RawRuns(**json.loads(raw_file(folder, row_name).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def read_results(path: Path = RESULTS) -> list[Summary]:
    """Read all summaries; none if the file does not exist yet."""
    if not path.exists():
        return []
    return [Summary(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def update_results(path: Path, rows: Sequence[Row], new: Iterable[Summary]) -> None:
    """Replace the lines of the rows in `new`, and drop the lines of rows that no longer exist."""
    by_row = {summary.row: summary for summary in [*read_results(path), *new]}
    lines = [json.dumps(asdict(by_row[row.name]), ensure_ascii=False) for row in rows if row.name in by_row]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def raw_file(folder: Path, row_name: str) -> Path:
    """Return the path of a row's raw runs."""
    return folder / f"{slug(row_name)}.json"


def _p50_and_p99(values: Sequence[float]) -> list[float]:
    return [percentile(values, 50), percentile(values, 99)] if values else []


def _commit() -> str:
    """Return the short commit; empty outside a repository."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip()
