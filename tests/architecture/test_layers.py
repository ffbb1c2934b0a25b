"""Imports follow the contracts in the root `pyproject.toml`, which cover every package."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "pyproject.toml"


def test_the_import_rules_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--config", CONFIG, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_import_rules_cover_every_package() -> None:
    packages = {
        init.parent.name
        for pattern in ("contracts", "chassis", "services/*", "cli", "testkit")
        for init in ROOT.glob(f"{pattern}/src/*/__init__.py")
    }
    assert packages == set(tomllib.loads(CONFIG.read_text())["tool"]["importlinter"]["root_packages"])


def test_the_contracts_package_uses_only_the_standard_library() -> None:
    """Every module of contracts can be imported without installed packages."""
    modules = [path.stem for path in (ROOT / "contracts/src/gifchat_contracts").glob("[a-z]*.py")]
    code = f"import {', '.join(f'gifchat_contracts.{name}' for name in modules)}"
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT / 'contracts/src')!r}); {code}"],
        check=True,
        timeout=30,
    )
