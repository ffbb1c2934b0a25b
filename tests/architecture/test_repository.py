"""Rules for the repository: module names, lock files, and no unused modules."""

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SOURCES = (
    "contracts/src",
    "chassis/src",
    "services/rooms-api/src",
    "services/realtime-gateway/src",
    "services/web/src",
    "cli/src",
    "testkit/src",
)
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
SERVICES = sorted((ROOT / "services").glob("*/pyproject.toml"))
MEANINGLESS = re.compile(r"(?:^|_)(?:utils?|common|helpers?|misc)$")
NOT_OURS = {".venv", ".git", ".data", "node_modules", "vendor", "__pycache__"}


def files() -> Iterator[Path]:
    """Yield every file outside the folders in `NOT_OURS`."""
    for path in ROOT.rglob("*"):
        if path.is_file() and not NOT_OURS.intersection(path.relative_to(ROOT).parts):
            yield path


def modules() -> dict[str, Path]:
    """Return the path of every source module that contains code, by dotted name."""
    found = {}
    for source in SOURCES:
        for path in (ROOT / source).rglob("*.py"):
            statements = ast.parse(path.read_text()).body
            if all(
                isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
                for statement in statements
            ):
                continue
            name = ".".join(path.relative_to(ROOT / source).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imported(path: Path) -> Iterator[str]:
    """Yield the dotted names that a file imports directly or through `pytest_plugins`."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield module
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.Assign(targets=[ast.Name("pytest_plugins")], value=ast.List(elements)):
                yield from (str(element.value) for element in elements if isinstance(element, ast.Constant))


def reached(starts: Iterable[Path], known: dict[str, Path]) -> set[str]:
    """Return the modules that the files import, directly or through other modules."""
    found: set[str] = set()
    waiting = list(starts)
    while waiting:
        new = known.keys() & set(imported(waiting.pop())) - found
        found |= new
        waiting += (known[name] for name in new)
    return found


def test_every_module_is_reached_from_a_test() -> None:
    """A module fails this test if no test and no program imports it."""
    known = modules()
    tests = [path for path in (ROOT / "tests").rglob("*.py") if not NOT_OURS.intersection(path.parts)]
    programs = {name for name, path in known.items() if 'if __name__ == "__main__":' in path.read_text()}
    missing = known.keys() - programs - reached([*tests, *(known[name] for name in programs)], known)
    assert sorted(missing) == []


def test_no_module_has_a_meaningless_name() -> None:
    assert [str(path.relative_to(ROOT)) for path in files() if MEANINGLESS.search(path.stem.lower())] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_locks_name_no_host(lock: Path) -> None:
    assert re.findall(r".*://.*", lock.read_text()) == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_locks_have_a_hash_for_every_package(lock: Path) -> None:
    entries = re.split(r"\n(?=\S)", lock.read_text().strip())
    assert [entry.splitlines()[0] for entry in entries if not re.search(r"--hash=sha256:[0-9a-f]{64}", entry)] == []


@pytest.mark.parametrize("project", SERVICES, ids=lambda path: path.parent.name)
def test_the_lock_of_a_service_satisfies_its_requirements(project: Path) -> None:
    pins = dict(
        re.findall(
            r"(?m)^([A-Za-z0-9._-]+)==([^\s;\\]+)", (ROOT / f"requirements/{project.parent.name}.lock").read_text()
        )
    )
    versions = {canonicalize_name(name): version for name, version in pins.items()}
    problems = []
    for line in tomllib.loads(project.read_text())["project"]["dependencies"]:
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        if not requirement.specifier:
            problems.append(f"{line}: has no minimum version")
        elif name not in versions:
            problems.append(f"{line}: is not in the lock")
        elif versions[name] not in requirement.specifier:
            problems.append(f"{line}: locked at {versions[name]}")
    assert not problems
