"""Facts about this machine, for comparing results."""

import os
import platform
import resource
from pathlib import Path

_RESERVED_FILES = 64


def processor() -> str:
    """Return the processor's model name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def memory_gb() -> float:
    """Return the machine's total memory in GiB."""
    return int(Path("/proc/meminfo").read_text().split()[1]) / 1024 / 1024


def max_sockets() -> int | None:
    """Return how many sockets the load generator can open; it raises its open-file limit to the hard limit.

    Returns:
        The number, or None for no limit.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if hard == resource.RLIM_INFINITY else max(1, hard - _RESERVED_FILES)


def facts() -> dict[str, str]:
    """Return the facts that a reader needs in order to compare results."""
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "processor": processor(),
        "memory": f"{memory_gb():.0f} GB",
        "kernel": f"{platform.system()} {platform.release()}",
    }
