"""Ports on the loopback interface."""

import socket
from collections.abc import Callable, Iterable

LOOPBACK = "127.0.0.1"


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen on `port` of `host` now; False too where the host does not exist."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError:
        return False
    return True


def free_port() -> int:
    """A port that the kernel says is free."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def choose_port(
    preferred: int | None,
    taken: Iterable[int],
    is_free: Callable[[int], bool] = is_free,
    free_port: Callable[[], int] = free_port,
) -> int:
    """`preferred` if it can be had, else any free port; never one of `taken`.

    `taken` are ports given to processes that may not listen yet, so that asking the kernel is not enough.
    """
    taken = set(taken)
    if preferred is not None and preferred not in taken and is_free(preferred):
        return preferred
    while (port := free_port()) in taken:
        continue
    return port
