from pathlib import Path

from gifchat_cli.logs import BoundedLog, tail


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
