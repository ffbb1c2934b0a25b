"""The verdict on a run, the lines of `results.jsonl`, and the page."""

from dataclasses import replace
from pathlib import Path

import pytest
from abuse.__main__ import PAGE, main
from abuse.attack import Attack, Stage, chosen, load_attacks
from abuse.report import page
from abuse.results import RESULTS, read_results, result_of, update_results
from abuse.run import Latency, Run


async def nothing(_: Stage) -> None:
    return None


ATTACK = Attack(name="an attack", what="what it does", run=nothing)
OTHER = Attack(name="another", what="what it does", run=nothing)
WELL = Run(
    quiet=Latency(samples=1_000, p50_ms=8.0, p99_ms=20.0),
    attacked=Latency(samples=1_001, p50_ms=9.0, p99_ms=49.0),
    seconds=24.0,
    attacker_cpu=0.25,
    findings={"bytes sent": 66_000_000, "closed with 1008": 3},
    refused={},
    disconnects=0,
    missing=0,
    unready={},
    newcomers=50,
    newcomers_slowest_s=0.5,
)


def attacked(p99_ms: float) -> Latency:
    return Latency(samples=1_000, p50_ms=9.0, p99_ms=p99_ms)


@pytest.mark.parametrize(
    ("quiet_p99_ms", "attacked_p99_ms", "within"), [(8, 50, True), (8, 51, False), (40, 80, True), (40, 81, False)]
)
def test_the_bar_is_twice_the_quiet_p99_or_50_ms(quiet_p99_ms: float, attacked_p99_ms: float, within: bool) -> None:
    run = replace(WELL, quiet=attacked(quiet_p99_ms), attacked=attacked(attacked_p99_ms))
    assert (run.breaches == []) is within


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ({"refused": {"join room_full": 2}}, "join room_full 2×"),
        ({"unready": {"deaf": 1}}, "deaf 1×"),
        ({"disconnects": 1}, "1 normal connections lost"),
        ({"missing": 4}, "4 messages not delivered"),
    ],
)
def test_any_harm_to_normal_users_is_a_breach(harm: dict[str, object], said: str) -> None:
    run = replace(WELL, **harm)  # type: ignore[arg-type]
    assert run.breaches == [said]
    assert f"**no**: {said}" in page([ATTACK], [result_of(ATTACK, run)])


def test_a_line_of_the_page_shows_latencies_samples_and_findings() -> None:
    assert (
        "| **an attack**: what it does | 8.0 / 20.0 | 9.0 / 49.0 | 1,000 + 1,001 | yes "
        "| in 24 s: 66.00 MB sent, closed with 1008 3 |" in page([ATTACK], [result_of(ATTACK, WELL)])
    )


def test_an_attack_without_a_result_says_so() -> None:
    assert "| **an attack**: what it does | – | – | 0 | – | |" in page([ATTACK], [])


def test_an_update_replaces_one_line_and_drops_attacks_that_are_gone(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    gone = Attack(name="gone", what="what it did", run=nothing)
    update_results(path, [ATTACK, gone, OTHER], [result_of(attack, WELL) for attack in (OTHER, gone, ATTACK)])
    update_results(path, [ATTACK, OTHER], [result_of(ATTACK, replace(WELL, seconds=31.5))])
    assert [(result.attack, result.run.seconds) for result in read_results(path)] == [
        ("an attack", 31.5),
        ("another", 24),
    ]


def test_the_page_is_generated_from_the_results() -> None:
    assert page(load_attacks(), read_results(RESULTS)) == PAGE.read_text(encoding="utf-8")


def test_attacks_are_chosen_by_name_or_part_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    attacks = load_attacks()
    assert chosen(attacks, []) == attacks
    assert [attack.name for attack in chosen(attacks, ["tiny"])] == ["tiny events"]
    assert main(["--list"]) == 0
    assert all(attack.name in capsys.readouterr().out for attack in attacks[:1])
