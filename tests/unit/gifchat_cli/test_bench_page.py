import io
import json
import resource
import sys
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


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_page_shows_the_whole_result() -> None:
    assert render(RESULT) == (
        "GIF Chat at http://localhost:8080\n"
        "\n"
        "  1,500 viewers held: 15,000 deliveries a second, p50 12.3 ms, p99 38.0 ms.\n"
        "  Stopped: at 2,000 viewers p99 was 310.0 ms, above 250 ms.\n"
        "\n"
        "machine   2 × A processor, 8 GB, Linux 6.1\n"
        "cluster   2 rooms-api, 3 gateways; viewers on 3 gateways\n"
        "load      one room, one writer, 10 messages/s in total, 5 s per step\n"
        "limit     p99 250 ms, from when a message was due until a viewer received its last byte\n"
        "\n"
        "viewers  messages  deliveries/s  p50 ms  p99 ms  lost  load\n"
        "   1500        50         15000    12.3    38.0     0   25%\n"
        "   2000        50         15000    12.3   310.0    10   25%\n"
        "\n"
        "Again: gifchat bench --max 10000"
    )


def test_the_page_says_if_the_cluster_held_no_step() -> None:
    nothing = replace(RESULT, viewers=0, p50_ms=None, p99_ms=None, steps=[], cluster=None, gateways=0)
    page = render(nothing)
    assert "The cluster did not hold the first step." in page
    assert "cluster   no viewer was admitted" in page
    assert "p99 ms" not in page


def test_the_result_is_valid_json() -> None:
    read = json.loads(json.dumps(asdict(RESULT)))
    assert (read["stopped_by"], read["viewers"], read["steps"][0]["viewers"]) == ("p99", 1_500, 1_500)


def test_without_a_terminal_each_step_prints_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(2_000)
    with progress.shown():
        progress.begin_step(1_500)
        progress.part(0.5)
        progress.end_step(STEP)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "1,500 viewers: p50 12.3 ms, p99 38.0 ms\n")


def test_the_machine_reports_its_facts() -> None:
    assert set(machine.facts()) == {"cores", "processor", "memory", "kernel"}
    sockets = machine.max_sockets()
    assert sockets is None or sockets < resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def test_a_terminal_shows_a_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    progress = Progress(2_000)
    with progress.shown():
        progress.begin_step(1_500)
        progress.say("A sentence with [brackets].")
        progress.end_step(STEP)
    assert "1,500 viewers: p50 12.3 ms" in shown.getvalue()
    assert "A sentence with [brackets]." in shown.getvalue()
    assert "\x1b[" in shown.getvalue()
