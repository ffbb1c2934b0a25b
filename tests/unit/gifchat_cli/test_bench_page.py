import json
import resource
from dataclasses import asdict, replace

import pytest

from gifchat_cli.bench import machine
from gifchat_cli.bench.page import Result, render
from gifchat_cli.bench.progress import Progress
from gifchat_cli.bench.ramp import Step, Stop

STEP = Step(
    viewers=1_500,
    messages=50,
    deliveries=75_000,
    expected=75_000,
    out_of_order=0,
    lost_viewers=0,
    deliveries_per_s=15_000.0,
    p50_ms=12.34,
    p99_ms=38.0,
    load_share=0.25,
)
RESULT = Result(
    url="http://localhost:8080",
    viewers=1_500,
    deliveries_per_s=15_000.0,
    p50_ms=12.34,
    p99_ms=38.0,
    stopped_by=Stop.LATE,
    why="at 2,000 viewers p99 was 310.0 ms, above 250 ms.",
    machine={"cores": "2", "processor": "A processor", "memory": "8 GB", "kernel": "Linux 6.1"},
    cluster={"rooms-api": 2, "gateway": 3},
    gateways=3,
    room_size=10_000,
    rooms=1,
    rate=10.0,
    hold_s=5.0,
    p99_limit_ms=250.0,
    steps=[STEP, replace(STEP, viewers=2_000, deliveries=99_990, expected=100_000, p99_ms=310.0)],
    repeat="gifchat bench --max 10000",
)


def test_the_page_says_all_of_it() -> None:
    assert render(RESULT) == (
        "GIF Chat at http://localhost:8080\n"
        "\n"
        "  1,500 viewers held: 15,000 deliveries a second, p50 12.3 ms, p99 38.0 ms.\n"
        "  Stopped: at 2,000 viewers p99 was 310.0 ms, above 250 ms.\n"
        "\n"
        "machine   2 × A processor, 8 GB, Linux 6.1\n"
        "cluster   2 rooms-api, 3 gateways; viewers on 3 gateways\n"
        "load      one room, one writer, 10 messages/s in all, 5 s a step\n"
        "limit     p99 250 ms, from when a message was to be sent to its last byte at a viewer\n"
        "\n"
        "viewers  messages  deliveries/s  p50 ms  p99 ms  lost  load\n"
        "   1500        50         15000    12.3    38.0     0   25%\n"
        "   2000        50         15000    12.3   310.0    10   25%\n"
        "\n"
        "Again: gifchat bench --max 10000"
    )


def test_where_nothing_was_held_the_page_says_so() -> None:
    nothing = replace(RESULT, viewers=0, p50_ms=None, p99_ms=None, steps=[], cluster=None, gateways=0)
    page = render(nothing)
    assert "Not even the first step was held." in page
    assert "cluster   no viewer got in" in page
    assert "p99 ms" not in page


def test_it_is_json_too() -> None:
    read = json.loads(json.dumps(asdict(RESULT)))
    assert (read["stopped_by"], read["viewers"], read["steps"][0]["viewers"]) == ("p99", 1_500, 1_500)


def test_without_a_terminal_each_step_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(2_000)
    with progress.shown():
        progress.begins(1_500)
        progress.part(0.5)
        progress.ends(STEP)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "1,500 viewers: p50 12.3 ms, p99 38.0 ms\n")


def test_the_machine_says_what_it_is() -> None:
    assert set(machine.facts()) == {"cores", "processor", "memory", "kernel"}
    sockets = machine.sockets_of_a_process()
    assert sockets is None or sockets < resource.getrlimit(resource.RLIMIT_NOFILE)[1]
