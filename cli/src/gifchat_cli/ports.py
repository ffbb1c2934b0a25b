"""Ports on the loopback interface."""

import socket
from collections.abc import Callable, Iterable

LOOPBACK = "127.0.0.1"


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen on `port` of `host` now; also False if the host does not exist."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError:
        return False
    return True


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def choose_port(
    preferred: int | None,
    taken: Iterable[int],
    is_free: Callable[[int], bool] = is_free,
    free_port: Callable[[], int] = free_port,
) -> int:
    """Return `preferred` if it is free, else any free port, but never one of `taken`.

    `taken` are ports assigned to processes that may not listen yet, so the kernel still reports them as free.
    """
    taken = set(taken)
    if preferred is not None and preferred not in taken and is_free(preferred):
        return preferred
    while (port := free_port()) in taken:
        continue
    return port
