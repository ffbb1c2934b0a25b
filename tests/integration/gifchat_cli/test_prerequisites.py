"""The message that the user gets if a server is not installed."""

import subprocess
import sys
from pathlib import Path

import gifchat_cli

SOURCES = Path(gifchat_cli.__file__).parents[1]
ASK = f"""
import sys
sys.path = [{str(SOURCES)!r}, *sys.path]
from gifchat_cli import prerequisites
try:
    print("found", getattr(prerequisites, sys.argv[1])())
except prerequisites.PrerequisiteError as error:
    print("missing", error)
"""


def find(what: str, on_path: Path) -> str:
    """Run `ASK` in a Python without installed packages and return what it prints."""
    answer = subprocess.run(
        [sys.executable, "-I", "-S", "-c", ASK, what],
        env={"PATH": str(on_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.strip()


def put_on_path(folder: Path, name: str, script: str) -> Path:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def test_the_error_for_a_missing_server_has_a_remedy(tmp_path: Path) -> None:
    for what, name in (("find_mongod", "mongod"), ("find_valkey_server", "valkey-server"), ("find_nginx", "nginx")):
        said = find(what, tmp_path)
        assert said.startswith(f"missing There is no {name} for this platform (linux-")
        assert said.endswith("install one and put it on PATH, or run `docker compose up` instead.")
        assert "\n" not in said


def test_a_server_on_the_path_is_used(tmp_path: Path) -> None:
    program = put_on_path(tmp_path, "mongod", "exit 0")
    assert find("find_mongod", tmp_path) == f"found {program}"


def test_the_error_for_a_missing_libcurl_names_its_package(tmp_path: Path) -> None:
    put_on_path(tmp_path, "mongod", "echo 'error while loading shared libraries: libcurl.so.4' >&2; exit 127")
    said = find("find_mongod", tmp_path)
    assert "libcurl" in said
    assert "apt-get install libcurl4" in said


def test_the_error_for_a_server_that_does_not_start_has_its_last_line(tmp_path: Path) -> None:
    put_on_path(tmp_path, "mongod", "echo 'Illegal instruction' >&2; exit 132")
    assert find("find_mongod", tmp_path).endswith("does not start: Illegal instruction")
