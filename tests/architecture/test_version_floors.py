"""No lock file or project allows a version below the floors in `requirements/floors.toml`."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
FLOORS = {
    canonicalize_name(name): Version(entry["floor"])
    for name, entry in tomllib.loads((ROOT / "requirements/floors.toml").read_text())["python"].items()
}
LOCKS = sorted(lock for lock in (ROOT / "requirements").glob("*.lock") if lock.stem != "old-clients")
"""All lock files but the one for the old clients, which are below the floors on purpose."""
PROJECTS = sorted(
    path
    for pattern in ("contracts", "chassis", "services/*", "cli", "testkit")
    for path in ROOT.glob(f"{pattern}/pyproject.toml")
)
SERVICES = [path for path in PROJECTS if path.parent.parent.name == "services"]
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", re.MULTILINE)


def locked(lock: Path) -> dict[str, Version]:
    return {canonicalize_name(name): Version(version) for name, version in _PIN.findall(lock.read_text())}


def required(project: Path) -> list[Requirement]:
    table = tomllib.loads(project.read_text())["project"]
    lists = [table.get("dependencies", []), *table.get("optional-dependencies", {}).values()]
    return [Requirement(line) for lines in lists for line in lines]


def lowest(requirement: Requirement) -> Version | None:
    """Return the oldest version that `requirement` allows, or None without `>=`, `==` or `~=`."""
    bounds = [Version(part.version) for part in requirement.specifier if part.operator in (">=", "==", "~=")]
    return max(bounds, default=None)


def test_all_locks_and_services_are_found() -> None:
    assert {lock.stem for lock in LOCKS} >= {"rooms-api", "realtime-gateway", "web", "local", "dev", "build"}
    assert len(SERVICES) == 3


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_locks_keep_the_floors(lock: Path) -> None:
    versions = locked(lock)
    assert versions, f"{lock.name} pins nothing"
    below = {name: f"{versions[name]} < {floor}" for name, floor in FLOORS.items() if versions.get(name, floor) < floor}
    assert not below


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_projects_keep_the_floors(project: Path) -> None:
    below = [
        f"{requirement} (floor {FLOORS[name]})"
        for requirement in required(project)
        if (name := canonicalize_name(requirement.name)) in FLOORS
        and ((bound := lowest(requirement)) is None or bound < FLOORS[name])
    ]
    assert not below


@pytest.mark.parametrize("project", SERVICES, ids=lambda path: path.parent.name)
def test_services_state_the_floors_of_indirect_dependencies(project: Path) -> None:
    """Without the lock file, an installation must not get a version below a floor either."""
    versions = locked(ROOT / "requirements" / f"{project.parent.name}.lock")
    stated = {canonicalize_name(requirement.name) for requirement in required(project)}
    assert sorted(name for name in FLOORS.keys() & versions.keys() if name not in stated) == []


def test_every_floor_is_used() -> None:
    used = {name for lock in LOCKS for name in locked(lock)}
    assert sorted(FLOORS.keys() - used) == []
