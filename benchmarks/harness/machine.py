"""The machine: its cores and facts, and the resources that a process has used."""

import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

from gifchat_cli.bench.machine import memory_gb, processor

BENCHMARKS = Path(__file__).resolve().parent.parent
ROOT = BENCHMARKS.parent
PEERS = BENCHMARKS / "peers"
BUILD = BENCHMARKS / "build"

_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE = _CORES[0]
"""Reserved for the measured server."""
LOAD_CORE = _CORES[-1]
"""For everything else: the load generator, Valkey, stand-ins and this process."""

RESERVED_FILES = 300


def raise_file_limit() -> int:
    """Raise the open-file limit to its maximum; return how many connections a process can have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard - RESERVED_FILES if hard != resource.RLIM_INFINITY else 1_000_000


def pinned(core: int, command: list[str]) -> list[str]:
    """Return the command line that pins `command` to a core. taskset replaces itself, so the pid stays the same."""
    return ["taskset", "-c", str(core), *command]


def cpu_s(pid: int) -> float:
    """Return a process's CPU time, from its CPU clock, which is finer than the ticks in /proc/<pid>/stat."""
    return time.clock_gettime((~pid << 3) | 2)


def cpu_s_by_name(pids: Mapping[str, Iterable[int]]) -> dict[str, float]:
    """Return the CPU time of each named group of processes together."""
    return {name: sum(map(cpu_s, group)) for name, group in pids.items()}


def resident_kb(pid: int) -> int:
    """Return the resident memory of a process, in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("no VmRSS")


def wait_until_quiet(pid: int, *, quiet_s: float = 0.4, share: float = 0.08, timeout_s: float = 60.0) -> float:
    """Wait until the process uses less than `share` of a core for `quiet_s`; return its CPU time then."""
    deadline = time.monotonic() + timeout_s
    before = cpu_s(pid)
    while time.monotonic() < deadline:
        time.sleep(quiet_s)
        now = cpu_s(pid)
        if now - before < share * quiet_s:
            return now
        before = now
    raise RuntimeError("the server does not become idle")


def facts() -> dict[str, str]:
    """Return the facts that a reader needs in order to compare results."""
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    compiler = subprocess.run(
        [shutil.which("gcc") or "cc", "-dumpfullversion"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "cores used": f"{len(_CORES)}" if len(_CORES) < 2 else "2 (one for the server, one for everything else)",
        "processor": processor(),
        "memory": f"{memory_gb():.0f} GB",
        "kernel": platform.release(),
        "Python": sys.version.split()[0],
        "Node.js": node,
        "gcc": compiler,
        "uvicorn": version("uvicorn"),
        "uvloop": version("uvloop"),
        "python-socketio": version("python-socketio"),
        "python-engineio": version("python-engineio"),
        "redis-py": version("redis"),
    }


def load_average() -> float:
    """Return the load average of the last minute. If it is above 1 before a run, other programs are busy."""
    return os.getloadavg()[0]
