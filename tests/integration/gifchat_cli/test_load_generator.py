"""The load generator compiles and runs. Without a compiler, the error says what to install."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gifchat_cli.bench import generator
from gifchat_cli.bench.generator import GeneratorError
from gifchat_cli.ports import free_port
from gifchat_cli.prerequisites import PrerequisiteError
from gifchat_contracts.ids import RoomId

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("generator") / "load_generator"
    generator.build(built)
    return built


def test_it_compiles_without_warnings(tmp_path: Path) -> None:
    command = ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(tmp_path / "program"), str(generator.SOURCE)]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stderr == ""


def test_clients_can_be_added_while_the_generator_runs(program: Path, tmp_path: Path) -> None:
    clients = tmp_path / "clients"
    clients.touch()
    with generator.started([str(program), "--port", str(free_port()), "--clients", str(clients)]) as load:
        assert load.ask("connect 1 1", 1.0)["asked"] == 0
        clients.write_text(generator.client_line(0, "-", RoomId("0" * 24)))
        answer = load.ask("connect 1 1", 1.0)
        assert (answer["asked"], answer["joined"], answer["gateways"]) == (1, 0, 0)
        assert "Connection refused" in answer["why"]
        assert load.ask("idle 0", 0.0) == {"connected": 0, "lost_clients": 0, "why": answer["why"]}


def test_an_exited_generator_is_reported(program: Path) -> None:
    with pytest.raises(GeneratorError, match="the load generator exited"), generator.started([str(program)]) as load:
        load.answer(1.0)


def test_the_stamp_and_the_limit_match_the_c_source() -> None:
    source = generator.SOURCE.read_text()
    assert f"#define STAMP {len(generator.STAMP)}\n" in source
    assert f"#define MAX_CLIENTS {generator.MAX_CLIENTS}\n" in source
    assert generator.stamp(0, 0, 0) == generator.STAMP
    assert re.fullmatch(r"T=\d{16} N=\d{8} G=\d{8}", generator.stamp(1, 2, 3))
    assert json.loads(generator.join_packet(RoomId("a" * 24)).partition("0")[2]) == ["join", "a" * 24]


def test_the_error_for_a_missing_compiler_has_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrerequisiteError, match=r"there is no C compiler: run `apt-get install gcc libc6-dev`"):
        generator.build(tmp_path / "program")


def test_the_error_for_missing_headers_has_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho 'fatal error: arpa/inet.h: No such file or directory' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    with pytest.raises(PrerequisiteError, match=r"headers are missing, `apt-get install libc6-dev`"):
        generator.build(tmp_path / "program")
