"""Every wheel works alone: it contains our packages that it imports, and requires none of our distributions."""

import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Collection
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from gifchat_contracts import __version__

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parents[2]
IMPORTS = {
    "contracts": ["gifchat_contracts.codec", "gifchat_contracts.socket_events"],
    "chassis": ["gifchat_chassis", "gifchat_contracts.limits"],
    "cli": ["gifchat_cli.__main__", "gifchat_cli.bench.command"],
    "testkit": ["gifchat_testkit.cluster", "gifchat_testkit.containers"],
    "services/realtime-gateway": ["gifchat_realtime_gateway.__main__", "gifchat_realtime_gateway.app"],
    "services/rooms-api": ["gifchat_rooms_api.__main__", "gifchat_rooms_api.app"],
    "services/web": ["gifchat_web.__main__", "gifchat_web.app"],
}
PROJECTS = sorted(IMPORTS)
COMPILER = shutil.which((sysconfig.get_config_var("CC") or "cc").split()[0])


def metadata(project: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / project / "pyproject.toml").read_text())


def siblings(project: str) -> list[Requirement]:
    wheel = metadata(project)["tool"]["hatch"]["build"]["targets"]["wheel"]
    return [Requirement(name) for name in wheel.get("hooks", {}).get("custom", {}).get("siblings", [])]


def dependencies(project: str, extras: Collection[str] = ()) -> set[str]:
    table = metadata(project)["project"]
    lists = [table["dependencies"], *(table["optional-dependencies"][extra] for extra in extras)]
    return {str(Requirement(line)) for lines in lists for line in lines}


def test_every_project_is_here() -> None:
    found = {path.parent for pattern in ("*", "services/*") for path in ROOT.glob(f"{pattern}/pyproject.toml")}
    assert {str(path.relative_to(ROOT)) for path in found} == set(PROJECTS)


@pytest.mark.parametrize("project", PROJECTS)
def test_a_project_depends_on_everything_that_its_siblings_need(project: str) -> None:
    own = dependencies(project)
    assert not [line for line in own if line.startswith("gifchat")]
    for sibling in siblings(project):
        assert dependencies(sibling.name, sibling.extras) - own == set(), f"needed by {sibling}"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the sources. A build in place would replace the compiled write loop that other tests use."""
    copy = tmp_path_factory.mktemp("sources")
    shutil.copy(ROOT / "hatch_siblings.py", copy)
    for project in PROJECTS:
        shutil.copytree(ROOT / project, copy / project, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    return copy


@pytest.mark.parametrize("project", PROJECTS)
def test_a_wheel_is_complete(project: str, sources: Path, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    subprocess.run([*pip, *build, str(sources / project)], check=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
        assert not [name for name in archive.namelist() if name.endswith(".pyc")]

    (info,) = unpacked.glob("*.dist-info")
    headers = Parser().parsestr((info / "METADATA").read_text())
    assert headers["Version"] == __version__
    assert not [line for line in headers.get_all("Requires-Dist", []) if line.startswith("gifchat")]
    built = list(unpacked.rglob("*.so"))
    assert len(built) == (project == "services/realtime-gateway" and COMPILER is not None)

    # `-S` ignores the .pth files of editable installs, so our packages can only come from the wheel.
    code = f"""
import sys
sys.path[:0] = [{str(unpacked)!r}]
sys.path.append({sysconfig.get_path("purelib")!r})
import {", ".join(IMPORTS[project])}
ours = [module for name, module in sys.modules.items() if name.startswith("gifchat_")]
outside = [module.__name__ for module in ours if not module.__file__.startswith({str(unpacked)!r})]
assert ours and not outside, outside
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
