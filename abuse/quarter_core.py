"""Limits a process to a share of one core, without special rights.

A cgroup would need root or delegation. Instead, we stop the process (SIGSTOP) whenever it has used more CPU time than
its share, and continue it later, as `cpulimit` does.
"""

import asyncio
import contextlib
import os
import signal
import time

SHARE = 0.25
_BURST_S = 0.025
"""How much CPU time the process may use in advance: what a cgroup's quota gives in each period of 100 ms."""
_CHECK_S = 0.005


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process and all its threads."""
    return time.clock_gettime((~pid << 3) | 2)


async def hold_to_share(pid: int, share: float = SHARE) -> None:
    """Hold the process to its share until it ends. If this is cancelled, the process runs freely."""
    stopped = False
    try:
        allowed_s, checked_s = cpu_s(pid), time.monotonic()
        while True:
            now_s = time.monotonic()
            used_s = cpu_s(pid)
            # Unused time is not saved up.
            allowed_s = min(allowed_s + share * (now_s - checked_s), used_s + _BURST_S)
            checked_s = now_s
            if stopped != (used_s > allowed_s):
                stopped = not stopped
                os.kill(pid, signal.SIGSTOP if stopped else signal.SIGCONT)
            await asyncio.sleep(_CHECK_S)
    except OSError:
        return
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
