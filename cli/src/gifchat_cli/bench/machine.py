"""Facts about this machine."""

import os
import platform
import resource
from pathlib import Path

_RESERVED_FILES = 64


def processor() -> str:
    """What the kernel calls it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def memory_gb() -> float:
    """All of it."""
    return int(Path("/proc/meminfo").read_text().split()[1]) / 1024 / 1024


def sockets_of_a_process() -> int | None:
    """How many a process can have, by the hard limit of open files, to which the load generator raises its own.

    Returns:
        None: as many as it likes.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if hard == resource.RLIM_INFINITY else max(1, hard - _RESERVED_FILES)


def facts() -> dict[str, str]:
    """What a reader needs to know to compare."""
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "processor": processor(),
        "memory": f"{memory_gb():.0f} GB",
        "kernel": f"{platform.system()} {platform.release()}",
    }
