"""The hooks, `make lint` and CI run the same checks, and no hook comes from another repository."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LINT = ROOT / ".ci/lint"
CHECKS = re.findall(r"(?m)^checks=\((.+)\)$", LINT.read_text())[0].split()
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())


def lint(*checks: str, tools: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the checks with a PATH that contains only `tools`."""
    return subprocess.run(
        [LINT, *checks], env={"PATH": str(tools), **environment}, capture_output=True, text=True, check=False
    )


@pytest.fixture
def bare_machine(tmp_path: Path) -> Path:
    """A folder with the commands that every machine has, but without linters."""
    for tool in ("bash", "env", "dirname", "git"):
        [found] = [path for folder in os.get_exec_path() if (path := Path(folder) / tool).exists()][:1]
        (tmp_path / tool).symlink_to(found)
    return tmp_path


def test_a_check_without_its_tool_is_skipped_with_a_note(bare_machine: Path) -> None:
    result = lint("shellcheck", "luacheck", tools=bare_machine)
    assert result.returncode == 0, result.stderr
    assert "not installed: shellcheck luacheck." in result.stderr


def test_on_ci_a_missing_tool_is_a_failure(bare_machine: Path) -> None:
    result = lint("luacheck", tools=bare_machine, REQUIRE_ALL="1")
    assert result.returncode == 1
    assert "Failed: luacheck" in result.stderr


def test_an_unknown_check_is_a_failure(bare_machine: Path) -> None:
    assert lint("nonsense", tools=bare_machine).returncode == 1


def run_engine_step(setup: str) -> str:
    """Run the step of `.ci/run` that starts a container engine. Returns its output and the engine's address."""
    script = (ROOT / ".ci/run").read_text()
    step = script[script.index("setup=${CI_SETUP") : script.index('step "Packages"')]
    return subprocess.run(
        ["bash", "-euc", f'docker() {{ false; }}; {step} echo "at ${{DOCKER_HOST:-nowhere}}"'],
        env={"PATH": os.environ["PATH"], "CI_SETUP": setup},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize("setup", ["", "/nonexistent"])
def test_ci_runs_without_a_setup_script(setup: str) -> None:
    assert "container tests are skipped" in run_engine_step(setup)


def test_ci_starts_the_engine_that_a_setup_script_offers(tmp_path: Path) -> None:
    setup = tmp_path / "engine"
    setup.write_text('#!/bin/sh\n[ "$1" = up ] || echo export DOCKER_HOST=unix:///engine.sock\n')
    setup.chmod(0o755)
    assert run_engine_step(str(setup)) == "at unix:///engine.sock\n"


def test_ci_goes_on_when_the_engine_does_not_start(tmp_path: Path) -> None:
    setup = tmp_path / "engine"
    setup.write_text("#!/bin/sh\nexit 1\n")
    setup.chmod(0o755)
    assert "container tests are skipped" in run_engine_step(str(setup))


def test_hooks_are_local_and_run_every_check() -> None:
    assert {repository["repo"] for repository in HOOKS["repos"]} == {"local"}
    hooks = [hook for repository in HOOKS["repos"] for hook in repository["hooks"]]
    assert {hook["language"] for hook in hooks} == {"system"}
    entries = [hook["entry"] for hook in hooks]
    assert sorted(entries) == sorted([*(f".ci/lint {check}" for check in CHECKS), ".ci/check-subject"])


def test_the_hosted_workflow_only_runs_the_ci_script() -> None:
    jobs: dict[str, Any] = WORKFLOW["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    actions = {step["uses"].partition("@")[0] for step in steps if "uses" in step}
    assert actions == {"actions/checkout", "actions/setup-python", "actions/setup-node"}


def test_ci_requires_every_check() -> None:
    assert "REQUIRE_ALL=1 make lint" in (ROOT / ".ci/run").read_text()


@pytest.mark.parametrize("lock", ["", "tests/e2e/", "benchmarks/peers/"])
def test_locks_of_node_packages_name_no_registry(lock: str) -> None:
    assert '"resolved"' not in (ROOT / f"{lock}package-lock.json").read_text()


def test_the_floor_of_coverage_only_rises() -> None:
    config = "pyproject.toml"
    log = subprocess.run(
        ["git", "log", "--patch", "--format=", "--", config], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if log.returncode != 0:
        pytest.skip("this clone does not have the history")
    [floor] = re.findall(r"(?m)^fail_under = ([\d.]+)$", (ROOT / config).read_text())
    earlier = re.findall(r"(?m)^\+fail_under = ([\d.]+)$", log.stdout)
    assert float(floor) >= max(map(float, earlier), default=0.0)
