"""`python -m faults`: run the rows of the fault table and write `docs/faults.md`."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from faults.report import page
from faults.results import (
    RESULTS,
    RUNS,
    Summary,
    raw_file,
    raw_runs,
    read_raw,
    read_results,
    summarize,
    update_results,
    write_raw,
)
from faults.row import Row, load_rows
from faults.run import RowRunner, Run
from faults.system import network
from gifchat_testkit.processes import die_at_once_with_parent

PAGE = RESULTS.parents[1] / "docs/faults.md"


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="number of seeds per row")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--rows", nargs="*", default=[], metavar="NAME", help="names or parts of names; default: all")
    parser.add_argument("--jobs", type=int, default=1, help="number of clusters that run at the same time")
    parser.add_argument("--short", action="store_true", help="run the short form of each row")
    parser.add_argument("--list", action="store_true", help="list the rows, run nothing")
    parser.add_argument("--report", action="store_true", help="write the page from the summaries, run nothing")
    parser.add_argument("--raw-only", action="store_true", help="write raw runs, but no summaries and no page")
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder for raw runs and the logs of failed ones")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file with the summaries, one line per row")
    parser.add_argument("--page", type=Path, default=PAGE)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if every run ended as expected."""
    options = parser().parse_args(arguments)
    everything = load_rows()
    rows = chosen(everything, options.rows)
    if options.list:
        for row in rows:
            _say(f"{row.name:<40} {row.fault}")
        return 0
    if options.report:
        finished = [summary for summary in read_results(options.results) if summary.row in {row.name for row in rows}]
    else:
        finished = asyncio.run(_run_all(rows, options))
    if not options.raw_only:
        update_results(options.results, everything, finished)
        options.page.write_text(page(everything, read_results(options.results)), encoding="utf-8")
    return int(any(summary.good < len(summary.seeds) for summary in finished))


def chosen(rows: Sequence[Row], patterns: Sequence[str]) -> list[Row]:
    """Select the rows whose name is, or contains, one of `patterns`. Without patterns, select all rows."""
    names = {row.name for row in rows}
    return [
        row
        for row in rows
        if not patterns or any(row.name == part if part in names else part in row.name for part in patterns)
    ]


async def _run_all(rows: Sequence[Row], options: argparse.Namespace) -> list[Summary]:
    """Run the rows, and return the summaries of those that could run."""
    separate = [row for row in rows if options.jobs > 1 < len(rows) or (row.own_network and not network.inside())]
    for row in separate:
        raw_file(options.runs, row.name).unlink(missing_ok=True)
    await _run_separately(separate, options)
    runner = RowRunner(options.runs)
    try:
        for row in sorted((row for row in rows if row not in separate), key=lambda row: repr(row.shape)):
            runs = []
            for seed in range(options.first_seed, options.first_seed + options.seeds):
                runs.append(await runner.run(row, seed, short=options.short))
                _say(_sentence(row, runs[-1]))
            write_raw(options.runs, raw_runs(row, runs))
    finally:
        await runner.close()
    return [summarize(raw) for row in rows if (raw := read_raw(options.runs, row.name))]


async def _run_separately(rows: Sequence[Row], options: argparse.Namespace) -> None:
    """Run each row in its own process, `--jobs` at a time."""
    at_once = asyncio.Semaphore(options.jobs)
    common = ["--raw-only", "--runs", str(options.runs), *(["--short"] * options.short)]
    common += ["--seeds", str(options.seeds), "--first-seed", str(options.first_seed)]

    async def run(row: Row) -> None:
        command = [sys.executable, "-m", "faults", *common, "--rows", row.name]
        env = None
        if row.own_network:
            if why := network.unavailable():
                _say(f"{row.name}: skipped, no network namespace is available: {why}")
                return
            command, env = network.command(command), network.environment()
        async with at_once:
            process = await asyncio.create_subprocess_exec(
                *command, cwd=RESULTS.parents[1], env=env, preexec_fn=die_at_once_with_parent
            )
            await process.wait()

    await asyncio.gather(*map(run, rows))


def _sentence(row: Row, run: Run) -> str:
    verdict = run.verdict
    outcome = "as expected" if run.as_expected(row) else "WRONG"
    figures = "".join(f", {name} {value:g}" for name, value in run.figures.items())
    lines = [
        f"{row.name} #{run.seed}: {outcome}; {verdict.acknowledged} acknowledged, lost {verdict.lost}, "
        f"duplicated {verdict.duplicated}, over-admitted {verdict.over_admitted}, healed in {verdict.heal_s:.2f} s"
        f"{figures} ({run.took_s:.1f} s)"
    ]
    if not run.as_expected(row):
        lines += [*verdict.problems, run.error, f"see {run.folder}"]
    return "\n   ".join(line for line in lines if line)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
