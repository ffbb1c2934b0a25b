from dataclasses import replace

import pytest

from gifchat_cli.bench.ramp import Plan, Step, Stop, held, verdict

PLAN = Plan(step=100, max_viewers=250, p99_ms=200.0)
GOOD = Step(
    viewers=100,
    messages=50,
    deliveries=5_000,
    expected=5_000,
    out_of_order=0,
    lost_viewers=0,
    deliveries_per_s=1_000.0,
    p50_ms=10.0,
    p99_ms=200.0,
    load_share=0.1,
)


@pytest.mark.parametrize(
    ("plan", "targets"),
    [
        (PLAN, [100, 200, 250]),
        (replace(PLAN, max_viewers=200), [100, 200]),
        (replace(PLAN, max_viewers=100), [100]),
        (replace(PLAN, step=1, max_viewers=3), [1, 2, 3]),
    ],
)
def test_the_last_step_has_the_maximum(plan: Plan, targets: list[int]) -> None:
    assert list(plan.targets()) == targets


@pytest.mark.parametrize(
    ("step", "stop"),
    [
        (GOOD, None),
        (replace(GOOD, p99_ms=200.1), Stop.LATE),
        (replace(GOOD, deliveries=4_999), Stop.LOSS),
        (replace(GOOD, out_of_order=1), Stop.LOSS),
        (replace(GOOD, deliveries=5_001), Stop.LOSS),
        (replace(GOOD, lost_viewers=1), Stop.LOSS),
        (replace(GOOD, deliveries=4_999, p99_ms=900.0), Stop.LOSS),
        (replace(GOOD, viewers=250), Stop.MAX),
        (replace(GOOD, viewers=250, p99_ms=200.1), Stop.LATE),
    ],
)
def test_the_verdict_on_a_step(step: Step, stop: Stop | None) -> None:
    assert verdict(step, PLAN) is stop


def test_the_largest_good_step_is_the_result() -> None:
    late = replace(GOOD, viewers=200, p99_ms=500.0)
    last = replace(GOOD, viewers=250)
    assert held([], PLAN) is None
    assert held([replace(GOOD, p99_ms=500.0)], PLAN) is None
    assert held([GOOD, late], PLAN) is GOOD
    assert held([GOOD, last], PLAN) is last


def test_duplicate_deliveries_do_not_count_as_lost() -> None:
    assert replace(GOOD, deliveries=4_990).lost == 10
    assert replace(GOOD, deliveries=5_010).lost == 0
