"""Runs the tests of the pages' scripts, so that one `pytest` runs all tests."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="Node.js is not installed")
def test_the_scripts_of_the_pages() -> None:
    assert NODE
    files = sorted(path.name for path in HERE.glob("*.test.mjs"))
    result = subprocess.run(
        [NODE, "--test", *files], cwd=HERE, capture_output=True, text=True, check=False, timeout=100
    )
    assert result.returncode == 0, result.stdout + result.stderr
