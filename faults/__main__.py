"""`python -m faults`: run the rows of the fault table, and write it."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from faults.report import document, read_results, results_of, write_results
from faults.row import Row, load_rows
from faults.run import Bench, Run
from faults.system import network
from gifchat_testkit.processes import die_at_once_with_parent


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many seeds each row runs with")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--rows", nargs="*", default=[], metavar="NAME", help="names or parts of names; default: all")
    parser.add_argument("--jobs", type=int, default=1, help="how many clusters at a time")
    parser.add_argument("--short", action="store_true", help="the short form of each row")
    parser.add_argument("--list", action="store_true", help="list the rows, run nothing")
    parser.add_argument("--report", action="store_true", help="write the table from kept results, run nothing")
    parser.add_argument("--results", type=Path, default=Path("tests/faults/results"))
    parser.add_argument("--document", type=Path, default=Path("docs/faults.md"))
    parser.add_argument("--kept", type=Path, default=Path(".data/faults"), help="where runs that went wrong leave logs")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """0: every run came out as it should."""
    asked = parser().parse_args(arguments)
    everything = load_rows()
    rows = chosen(everything, asked.rows)
    if asked.list:
        for row in rows:
            _say(f"{row.name:<40} {row.fault}")
        return 0
    if not asked.report:
        asyncio.run(_run_all(rows, asked))
    results = read_results(asked.results)
    asked.document.write_text(document(everything, results), encoding="utf-8")
    names = {row.name for row in rows}
    return int(any(each.good < len(each.runs) for each in results if each.row in names))


def chosen(rows: Sequence[Row], asked: Sequence[str]) -> list[Row]:
    """Rows by their names, or by parts of names; all where nothing is asked for."""
    names = {row.name for row in rows}
    return [
        row
        for row in rows
        if not asked or any(row.name == part if part in names else part in row.name for part in asked)
    ]


async def _run_all(rows: Sequence[Row], asked: argparse.Namespace) -> None:
    apart = [row for row in rows if asked.jobs > 1 < len(rows) or (row.own_network and not network.inside())]
    await _run_apart(apart, asked)
    bench = Bench(asked.kept)
    try:
        for row in sorted((row for row in rows if row not in apart), key=lambda row: repr(row.shape)):
            runs = []
            for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
                runs.append(await bench.run(row, seed, short=asked.short))
                _say(_sentence(row, runs[-1]))
            write_results(asked.results, results_of(row, runs))
    finally:
        await bench.close()


async def _run_apart(rows: Sequence[Row], asked: argparse.Namespace) -> None:
    """Each row in a process of its own, so many at a time."""
    at_once = asyncio.Semaphore(asked.jobs)
    common = ["--seeds", str(asked.seeds), "--first-seed", str(asked.first_seed), "--kept", str(asked.kept)]
    common += ["--results", str(asked.results), "--document", str(asked.document), *(["--short"] * asked.short)]

    async def run(row: Row) -> None:
        command = [sys.executable, "-m", "faults", *common, "--rows", row.name]
        env = None
        if row.own_network:
            if why := network.unavailable():
                _say(f"{row.name}: not run, there is no network namespace to be had: {why}")
                return
            command, env = network.command(command), network.environment()
        async with at_once:
            process = await asyncio.create_subprocess_exec(*command, env=env, preexec_fn=die_at_once_with_parent)
            await process.wait()

    await asyncio.gather(*map(run, rows))


def _sentence(row: Row, run: Run) -> str:
    verdict = run.verdict
    good = "as it should" if run.as_expected(row) else "WRONG"
    figures = "".join(f", {name} {value:g}" for name, value in run.figures.items())
    lines = [
        f"{row.name} #{run.seed}: {good}; {verdict.acknowledged} acknowledged, lost {verdict.lost}, "
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
