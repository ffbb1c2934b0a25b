"""Raw runs, the summary line of each row, and the page written from the summaries."""

from dataclasses import replace
from pathlib import Path

from faults.__main__ import PAGE
from faults.judge.checker import Verdict
from faults.report import page
from faults.results import RESULTS, Summary, raw_runs, read_raw, read_results, summarize, update_results, write_raw
from faults.row import Row, load_rows
from faults.run import Run

GOOD = Verdict(
    acknowledged=6,
    delivered=9,
    ghosts_max_s=10.5,
    resume_s=(0.6, 0.8),
    heal_s=0.7,
    peak_reconnects_per_s=1,
)
LOST = replace(GOOD, lost=2, breaches=("lost",))


async def nothing(*_: object) -> None:
    return None


ROW = Row(name="a fault", fault="what was done", inject=nothing)
MUTANT = Row(name="a mutant", fault="what is off", inject=nothing, caught_by=frozenset({"lost"}))


def run(row: Row, verdict: Verdict = GOOD, seed: int = 1, error: str = "", **figures: float) -> Run:
    return Run(row=row.name, seed=seed, took_s=3.0, verdict=verdict, error=error, figures=figures)


def summary(row: Row, *runs: Run) -> Summary:
    return summarize(raw_runs(row, runs))


def test_a_run_is_as_expected_if_nothing_is_breached_or_its_mutant_is_caught() -> None:
    assert run(ROW).as_expected(ROW)
    assert not run(ROW, LOST).as_expected(ROW)
    assert run(MUTANT, LOST).as_expected(MUTANT)
    assert not run(MUTANT).as_expected(MUTANT)
    assert not run(ROW, error="no").as_expected(ROW)


def test_a_line_of_the_page_shows_figures_and_breaches() -> None:
    text = page([ROW, MUTANT], [summary(ROW, run(ROW, deaf_s=2.0)), summary(MUTANT, run(MUTANT, LOST))])
    assert (
        "| **a fault**: what was done | 1 | 6 | 0 | 0 | 0 | 0 | 0.70 / 0.70 | 0.60 / 0.80 | ghosts up to 10.5 s; "
        "up to 1 reconnects a second; deaf_s 2 (max 2) |" in text
    )
    assert "| **a mutant**: what is off | 1 | 1 | lost |" in text


def test_a_row_without_results_says_so() -> None:
    text = page([ROW, MUTANT], [])
    assert "| **a fault**: what was done | 0 |" in text
    assert "| **a mutant**: what is off | 0 |" in text


def test_a_summary_adds_up_all_seeds() -> None:
    runs = [run(ROW, deaf_s=2.0), run(ROW, LOST, seed=2, deaf_s=4.0), run(ROW, seed=3, error="first line\nrest")]
    found = summary(ROW, *runs)
    assert (found.seeds, found.good, found.unfinished) == ([1, 2, 3], 1, [3])
    assert (found.acknowledged, found.delivered, found.breaches) == (18, 27, {"lost": 2})
    assert found.figures == {"deaf_s": [2.0, 4.0]}
    assert "**seeds [3] did not finish**" in page([ROW], [found])


def test_raw_runs_are_read_back(tmp_path: Path) -> None:
    raw = raw_runs(ROW, [run(ROW, error="first line\nrest")])
    assert read_raw(tmp_path, ROW.name) is None
    write_raw(tmp_path, raw)
    again = read_raw(tmp_path, ROW.name)
    assert again is not None
    assert again.runs[0]["error"] == "first line"
    assert summarize(again) == summarize(raw)


def test_an_update_replaces_one_line_and_drops_rows_that_are_gone(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    gone = Row(name="gone", fault="was done once", inject=nothing)
    update_results(path, [ROW, gone, MUTANT], [summary(row, run(row)) for row in (MUTANT, gone, ROW)])
    assert [each.row for each in read_results(path)] == ["a fault", "gone", "a mutant"]
    update_results(path, [ROW, MUTANT], [summary(ROW, run(ROW, seed=7))])
    assert [(each.row, each.seeds) for each in read_results(path)] == [("a fault", [7]), ("a mutant", [1])]


def test_every_row_has_a_line_and_the_page_is_generated_from_them() -> None:
    rows, summaries = load_rows(), read_results(RESULTS)
    own_network = {row.name for row in rows if row.own_network}
    assert {row.name for row in rows} - {each.row for each in summaries} <= own_network
    assert page(rows, summaries) == PAGE.read_text(encoding="utf-8")
