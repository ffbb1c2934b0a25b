"""The machine: its cores, its facts, and what a process has used of it."""

import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from gifchat_cli.bench.machine import memory_gb, processor

BENCHMARKS = Path(__file__).resolve().parent.parent
ROOT = BENCHMARKS.parent
PEERS = BENCHMARKS / "peers"
BUILD = BENCHMARKS / "build"

_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE = _CORES[0]
"""The server that is measured has it to itself."""
LOAD_CORE = _CORES[-1]
"""Everything else: the load, Valkey, stand-ins and this process."""

RESERVED_FILES = 300


def raise_file_limit() -> int:
    """Take as many file descriptors as the machine gives; returns how many connections fit into a process."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard - RESERVED_FILES if hard != resource.RLIM_INFINITY else 1_000_000


def pinned(core: int, command: list[str]) -> list[str]:
    """`command` on one core; taskset replaces itself by it, so the pid stays."""
    return ["taskset", "-c", str(core), *command]


def cpu_s(pid: int) -> float:
    """CPU time of all threads of a process, user and system, by its CPU clock: finer than /proc/<pid>/stat's ticks."""
    return time.clock_gettime((~pid << 3) | 2)


def resident_kb(pid: int) -> int:
    """Resident memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("no VmRSS")


def wait_until_quiet(pid: int, *, quiet_s: float = 0.4, share: float = 0.08, timeout_s: float = 60.0) -> float:
    """Wait until the process uses less than `share` of a core for `quiet_s`; returns its CPU time at that moment."""
    deadline = time.monotonic() + timeout_s
    before = cpu_s(pid)
    while time.monotonic() < deadline:
        time.sleep(quiet_s)
        now = cpu_s(pid)
        if now - before < share * quiet_s:
            return now
        before = now
    raise RuntimeError("the server does not come to rest")


def facts() -> dict[str, str]:
    """What a reader needs to know to compare."""
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
    """Of the last minute: above 1 before a run, somebody else is at work."""
    return os.getloadavg()[0]
