import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from gifchat_chassis.logs import configure_logs


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_lines_of_ours_and_of_libraries_have_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "json", "gateway-1")
    structlog.get_logger("ours").info("connected", user="안녕", sid="s\ud800")
    logging.getLogger("theirs").warning("a library's")
    ours, theirs = map(json.loads, capsys.readouterr().out.splitlines())
    assert (ours["event"], ours["user"], ours["logger"], ours["level"]) == ("connected", "안녕", "ours", "info")
    assert (theirs["event"], theirs["logger"], theirs["level"]) == ("a library's", "theirs", "warning")
    assert ours["node"] == theirs["node"] == "gateway-1"
    assert ours["timestamp"] <= theirs["timestamp"]


def test_lines_below_the_level_are_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("warning", "json", "gateway-1")
    structlog.get_logger("ours").info("connected")
    logging.getLogger("theirs").info("a library's")
    structlog.get_logger("ours").warning("room_not_opened")
    assert [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()] == ["room_not_opened"]


@pytest.mark.parametrize(
    ("addresses", "logged"),
    [("full", ["203.0.113.77", "2001:db8:1:2::3", "unknown"]), ("network", ["203.0.113.0", "2001:db8:1::", "-"])],
)
def test_a_setting_shortens_the_addresses_of_clients(
    capsys: pytest.CaptureFixture[str], addresses: str, logged: list[str]
) -> None:
    configure_logs("info", "json", "gateway-1", addresses)
    for address in ("203.0.113.77", "2001:db8:1:2::3", "unknown"):
        structlog.get_logger("ours").info("connected", address=address)
    structlog.get_logger("ours").info("listening", host="127.0.0.1")
    *lines, other = map(json.loads, capsys.readouterr().out.splitlines())
    assert [line["address"] for line in lines] == logged
    assert other["host"] == "127.0.0.1"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_exception_is_logged_with_its_traceback_and_without_values(
    capsys: pytest.CaptureFixture[str], log_format: str
) -> None:
    configure_logs("info", log_format, "gateway-1")
    secret = "meow" * 2
    try:
        secret.index("x")
    except ValueError:
        structlog.get_logger("ours").exception("handler_failed", sid="abc")
    out = capsys.readouterr().out
    assert "handler_failed" in out
    assert "ValueError" in out
    assert "meowmeow" not in out


def test_a_failing_write_of_a_line_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        class buffer:  # noqa: N801 - as stdout has it
            @staticmethod
            def write(*_line: bytes) -> int:
                raise OSError("no space left on device")

            flush = write

        @staticmethod
        def isatty() -> bool:
            return False

    monkeypatch.setattr(sys, "stdout", Full)
    configure_logs("info", "json", "gateway-1")
    structlog.get_logger("ours").info("connected")
