"""Commit subjects have one form, and CONTRIBUTING lists the areas that the check accepts."""

import importlib.util
import re
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
CHECK = ROOT / ".ci/check-subject"
FIRST_PARENT = "a6bc45f"
"""The rule applies to every commit after this one."""


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_loader(path.stem, SourceFileLoader(path.stem, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


check = load(CHECK)


@pytest.mark.parametrize(
    "subject",
    [
        "gateway: Cut a relayed WebSocket whose other side has ended.",
        "web: Add the pages' texts in Japanese.",
        'Revert "web: Add the pages\' texts in Japanese."',
        "fixup! web: Add the pages' texts in Japanese.",
    ],
)
def test_a_good_subject_passes(subject: str) -> None:
    assert check.problems(subject) == []


@pytest.mark.parametrize(
    ("subject", "problem"),
    [
        ("Add a counter.", "Begin with an area"),
        ("engine: Add a counter.", "Begin with an area"),
        ("Web: Add a counter.", "Begin with an area"),
        ("web: add a counter.", "capital letter"),
        ("web: Added a counter.", "imperative"),
        ("web: Fixes a counter.", "imperative"),
        ("web: Add a counter", "one full stop"),
        ("web: Add a counter...", "one full stop"),
        ("web: Add a counter; remove another.", "no semicolon"),
        (f"web: Add {'a' * 63}.", "This subject has 73"),
    ],
)
def test_a_bad_subject_is_refused_with_the_reason(subject: str, problem: str) -> None:
    [found] = check.problems(subject)
    assert problem in found


def test_the_hook_reads_the_first_line_of_the_message(tmp_path: Path) -> None:
    message = tmp_path / "COMMIT_EDITMSG"
    message.write_text("web: Add a counter.\n\nthe body; is free")
    assert subprocess.run([sys.executable, CHECK, message], check=False).returncode == 0
    message.write_text("a counter\n")
    refused = subprocess.run([sys.executable, CHECK, message], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "Begin with an area" in refused.stderr


def test_contributing_lists_the_areas() -> None:
    [listed] = re.findall(r"(?ms)^The areas are (.+?)\.$", (ROOT / "CONTRIBUTING.md").read_text())
    assert re.findall(r"`([\w-]+)`", listed) == check.AREAS


def test_the_commits_follow_the_form() -> None:
    log = subprocess.run(
        ["git", "log", "--no-merges", "--format=%s", f"{FIRST_PARENT}..HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if log.returncode != 0:
        pytest.skip("this clone does not have the history")
    subjects = set(log.stdout.splitlines())
    assert {subject: found for subject in subjects if (found := check.problems(subject))} == {}
