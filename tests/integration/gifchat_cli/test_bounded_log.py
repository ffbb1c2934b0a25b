import os
from pathlib import Path

from gifchat_cli.logs import BoundedLog, delete_outdated, is_outdated, tail

WEEK_S = 7 * 24 * 3_600.0
START_S = 3_000 * WEEK_S
"""The start of a period."""


def written(path: Path, at_s: float) -> Path:
    path.write_text("a line\n")
    os.utime(path, (at_s, at_s))
    return path


def test_a_log_stays_within_its_bounds_and_keeps_the_newest_lines(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    log = BoundedLog(path, max_bytes=1_000)
    for number in range(1_000):
        log.write(f"line {number}".encode())
    log.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["web.log", "web.log.1"]
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 2_200
    assert tail(path, 2) == ["line 998", "line 999"]


def test_a_log_is_appended_to_in_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    for text in (b"first run", b"second run"):
        log = BoundedLog(path)
        log.write(text)
        log.close()
    assert tail(path, 10) == ["first run", "second run"]


def test_the_tail_of_a_missing_log_is_empty(tmp_path: Path) -> None:
    assert tail(tmp_path / "none.log", 5) == []


def test_a_log_is_rotated_when_a_new_period_begins(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    log = BoundedLog(path)
    log.write(b"old")
    os.utime(path, (START_S + 10, START_S + 10))
    log.rotate_if_outdated(WEEK_S, START_S + WEEK_S - 1)
    assert tail(path, 9) == ["old"]
    log.rotate_if_outdated(WEEK_S, START_S + WEEK_S)
    log.write(b"new")
    log.close()
    assert tail(path, 9) == ["new"]
    assert tail(tmp_path / "web.log.1", 9) == ["old"]


def test_an_empty_or_missing_log_is_never_outdated(tmp_path: Path) -> None:
    empty = written(tmp_path / "web.log", START_S)
    empty.write_text("")
    os.utime(empty, (START_S, START_S))
    assert not is_outdated(empty, WEEK_S, START_S + 9 * WEEK_S)
    assert not is_outdated(tmp_path / "none.log", WEEK_S, START_S)


def test_old_logs_are_deleted(tmp_path: Path) -> None:
    names = ["web.log", "web.log.1", "gateway-9.log", "notes.txt"]
    for name in names:
        written(tmp_path / name, START_S)
    delete_outdated(tmp_path, WEEK_S, START_S + WEEK_S, in_use=[tmp_path / "web.log"])
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    delete_outdated(tmp_path, WEEK_S, START_S + WEEK_S + 1, in_use=[tmp_path / "web.log"])
    assert {path.name for path in tmp_path.iterdir()} == {"web.log", "notes.txt"}
