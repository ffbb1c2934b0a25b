"""The shape of the repository: what is where, what is not there, and which test reads which module."""

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
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

TESTED_THROUGH = {
    "gifchat_web.__main__": "tests/unit/gifchat_web/test_operations.py",
    "gifchat_web.http.forms": "tests/unit/gifchat_web/test_pages.py",
    "gifchat_web.http.health": "tests/unit/gifchat_web/test_operations.py",
    "gifchat_web.logs": "tests/unit/gifchat_web/test_operations.py",
    "gifchat_web.http.pages": "tests/unit/gifchat_web/test_pages.py",
    "gifchat_web.http.caller": "tests/unit/gifchat_web/test_pages.py",
    "gifchat_web.http.language": "tests/unit/gifchat_web/test_pages.py",
    "gifchat_web.http.room_actions": "tests/unit/gifchat_web/test_pages.py",
    "gifchat_web.http.session": "tests/unit/gifchat_web/test_session_cookies.py",
    "gifchat_web.http.rendering": "tests/unit/gifchat_web/test_pages.py",
    "gifchat_cli.bench.audience": "tests/cluster/test_embedded.py",
    "gifchat_cli.bench.command": "tests/cluster/test_embedded.py",
    "gifchat_cli.control": "tests/cluster/test_embedded.py",
    "gifchat_cli.parent_death": "tests/cluster/test_embedded.py",
    "gifchat_cli.servers.gateway": "tests/cluster/test_embedded.py",
    "gifchat_cli.supervisor": "tests/cluster/test_embedded.py",
    "gifchat_realtime_gateway.http.health": "tests/integration/gifchat_realtime_gateway/test_gateway.py",
    "gifchat_realtime_gateway.socketio.chat": "tests/integration/gifchat_realtime_gateway/test_gateway.py",
    "gifchat_realtime_gateway.socketio.demo": "tests/integration/gifchat_realtime_gateway/test_gateway.py",
    "gifchat_realtime_gateway.socketio.lobby": "tests/integration/gifchat_realtime_gateway/test_gateway.py",
    "gifchat_realtime_gateway.use_cases.evict_sessions": "tests/unit/gifchat_realtime_gateway/test_evict_sessions.py",
    "gifchat_realtime_gateway.use_cases.frame_router": "tests/unit/gifchat_realtime_gateway/test_frame_router.py",
    "gifchat_realtime_gateway.use_cases.leave_room": "tests/unit/gifchat_realtime_gateway/test_leave_room.py",
    "gifchat_realtime_gateway.use_cases.send_message": "tests/unit/gifchat_realtime_gateway/test_send_message.py",
    "gifchat_rooms_api.__main__": "tests/integration/gifchat_rooms_api/test_process.py",
    "gifchat_rooms_api.adapters.image_child": "tests/integration/gifchat_rooms_api/test_image_decoder.py",
    "gifchat_rooms_api.domain.gif_containers.exif": "tests/unit/gifchat_rooms_api/test_gif_walkers.py",
    "gifchat_rooms_api.domain.gif_containers.gif": "tests/unit/gifchat_rooms_api/test_gif_walkers.py",
    "gifchat_rooms_api.domain.gif_containers.jpeg": "tests/unit/gifchat_rooms_api/test_gif_walkers.py",
    "gifchat_rooms_api.domain.gif_containers.png": "tests/unit/gifchat_rooms_api/test_gif_walkers.py",
    "gifchat_rooms_api.domain.gif_containers.reading": "tests/unit/gifchat_rooms_api/test_gif_refusals.py",
    "gifchat_rooms_api.domain.gif_containers.webp": "tests/unit/gifchat_rooms_api/test_gif_walkers.py",
    "gifchat_rooms_api.http.deps": "tests/integration/gifchat_rooms_api/test_rooms.py",
    "gifchat_rooms_api.http.gifs": "tests/integration/gifchat_rooms_api/test_gifs.py",
    "gifchat_rooms_api.http.health": "tests/integration/gifchat_rooms_api/test_service.py",
    "gifchat_rooms_api.http.internal_rooms": "tests/integration/gifchat_rooms_api/test_service.py",
    "gifchat_rooms_api.http.message_schemas": "tests/unit/gifchat_rooms_api/test_messages_http.py",
    "gifchat_rooms_api.http.moderation": "tests/integration/gifchat_rooms_api/test_moderation.py",
    "gifchat_rooms_api.http.problems": "tests/integration/gifchat_rooms_api/test_rooms.py",
    "gifchat_rooms_api.http.rooms": "tests/integration/gifchat_rooms_api/test_rooms.py",
    "gifchat_rooms_api.http.room_schemas": "tests/integration/gifchat_rooms_api/test_rooms.py",
    "gifchat_rooms_api.logs": "tests/integration/gifchat_rooms_api/test_process.py",
    "gifchat_rooms_api.metrics": "tests/integration/gifchat_rooms_api/test_service.py",
    "gifchat_rooms_api.use_cases.moderate_user": "tests/integration/gifchat_rooms_api/test_moderation.py",
    "gifchat_rooms_api.use_cases.read_rooms": "tests/integration/gifchat_rooms_api/test_rooms.py",
}
"""Modules that no test imports because they are only whole as a part of a running service: the test that runs them."""


def files() -> Iterator[Path]:
    """Every file of ours."""
    for path in ROOT.rglob("*"):
        if path.is_file() and not NOT_OURS.intersection(path.relative_to(ROOT).parts):
            yield path


def modules() -> dict[str, Path]:
    """Every source module with code in it, by its dotted name."""
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
    """The dotted names that a test file imports or, as `pytest_plugins`, has imported."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield module
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.Assign(targets=[ast.Name("pytest_plugins")], value=ast.List(elements)):
                yield from (str(element.value) for element in elements if isinstance(element, ast.Constant))


@cache
def imported_by_tests() -> set[str]:
    tests = (path for path in (ROOT / "tests").rglob("*.py") if not NOT_OURS.intersection(path.parts))
    return {name for path in tests for name in imported(path)}


def test_every_module_has_a_test_that_imports_it() -> None:
    known = imported_by_tests() | TESTED_THROUGH.keys()
    missing = {name: path for name, path in modules().items() if name not in known}
    listing = "\n".join(f"  {name:<50} {path.relative_to(ROOT)}" for name, path in sorted(missing.items()))
    if missing:
        pytest.fail(f"{len(missing)} modules that no test imports:\n{listing}", pytrace=False)


def test_the_exceptions_are_needed_and_hold() -> None:
    assert [name for name in TESTED_THROUGH if name in imported_by_tests()] == [], "these have tests of their own"
    assert [name for name in TESTED_THROUGH if name not in modules()] == [], "there are no such modules"
    assert [path for path in TESTED_THROUGH.values() if not (ROOT / path).is_file()] == [], "there are no such tests"


def test_names_say_what_is_inside() -> None:
    assert [str(path.relative_to(ROOT)) for path in files() if MEANINGLESS.search(path.stem.lower())] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_locks_name_no_host(lock: Path) -> None:
    assert re.findall(r".*://.*", lock.read_text()) == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_locks_have_a_hash_for_every_package(lock: Path) -> None:
    entries = re.split(r"\n(?=\S)", lock.read_text().strip())
    assert [entry.splitlines()[0] for entry in entries if not re.search(r"--hash=sha256:[0-9a-f]{64}", entry)] == []


@pytest.mark.parametrize("project", SERVICES, ids=lambda path: path.parent.name)
def test_a_service_is_locked_at_versions_that_it_asks_for(project: Path) -> None:
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
            problems.append(f"{line}: says no oldest version")
        elif name not in versions:
            problems.append(f"{line}: is not in the lock")
        elif versions[name] not in requirement.specifier:
            problems.append(f"{line}: locked at {versions[name]}")
    assert not problems
