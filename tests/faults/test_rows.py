"""Runs the short form of each row of the fault table. `make faults` runs each row in full, with twenty seeds."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.__main__ import chosen, main
from faults.row import Row, load_rows, slug
from faults.run import RowRunner, Run
from faults.system import network

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]
ROWS = sorted(load_rows(), key=lambda row: repr(row.shape))


class Runs:
    """Runs rows in one event loop, which all tests of the module share."""

    def __init__(self, runner: asyncio.Runner, bench: RowRunner) -> None:
        self._runner, self._bench = runner, bench

    def run(self, row: Row, seed: int) -> Run:
        return self._runner.run(self._bench.run(row, seed, short=True))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with asyncio.Runner() as runner:
        bench = RowRunner(tmp_path_factory.mktemp("faults"))
        try:
            yield Runs(runner, bench)
        finally:
            runner.run(bench.close())


@pytest.mark.parametrize("row", [row for row in ROWS if not row.own_network], ids=lambda row: slug(row.name))
def test_row(row: Row, runs: Runs) -> None:
    run = runs.run(row, seed=1)
    assert run.as_expected(row), "\n".join([run.error, *run.verdict.problems, f"records and logs: {run.folder}"])


@pytest.mark.parametrize("row", [row for row in ROWS if row.own_network], ids=lambda row: slug(row.name))
def test_row_in_its_own_network(row: Row, tmp_path: Path) -> None:
    if why := network.unavailable():
        pytest.skip(f"cannot create a network namespace: {why}")
    arguments = ["--short", "--seeds", "1", "--rows", row.name, "--runs", str(tmp_path)]
    arguments += ["--results", str(tmp_path / "results.jsonl"), "--page", str(tmp_path / "faults.md")]
    ended = subprocess.run(
        network.command([sys.executable, "-m", "faults", *arguments]),
        env=network.environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    assert "as expected" in ended.stdout


def test_the_command_line_lists_the_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert all(row.name in listed for row in ROWS)


def test_rows_are_chosen_by_name_or_part_of_it() -> None:
    assert chosen(ROWS, []) == ROWS
    assert [row.name for row in chosen(ROWS, ["gateway killed"])] == ["gateway killed"]
    assert {row.is_mutant for row in chosen(ROWS, ["mutant"])} == {True}
