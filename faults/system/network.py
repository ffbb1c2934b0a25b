"""A network namespace in which packets can be dropped (Linux, as root).

A proxy can hold bytes back, but TCP still answers on both sides of it. Here packets vanish, as with a pulled cable: no
connection is refused or reset, and TCP keeps retrying.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

_INSIDE = "GIFCHAT_FAULTS_OWN_NETWORK"
_TOOLS = ("unshare", "ip", "iptables")
_CHAIN = "INPUT"


def inside() -> bool:
    """Whether this process runs in such a namespace."""
    return _INSIDE in os.environ


def command(inner: Sequence[str]) -> list[str]:
    """Return the command line that runs `inner` in a new namespace with only a loopback interface."""
    return ["unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *inner]


def environment() -> Mapping[str, str]:
    """Return the environment for such a command."""
    return {**os.environ, _INSIDE: "1"}


def unavailable() -> str:
    """Return why no namespace is available; empty if one is."""
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        return f"{', '.join(missing)} not installed"
    tried = subprocess.run(
        command(["iptables", "-A", _CHAIN, "-p", "tcp", "--dport", "1", "-j", "DROP"]),
        capture_output=True,
        text=True,
        check=False,
    )
    return tried.stderr.strip() or f"exit code {tried.returncode}" if tried.returncode else ""


def lose_packets(*ports: int) -> None:
    """Drop every TCP packet to or from these ports.

    Raises:
        AssertionError: this process is not in its own namespace.
    """
    assert inside(), "packets may only be dropped in a network namespace of our own"
    for port in ports:
        for side in ("--dport", "--sport"):
            _iptables("-A", _CHAIN, "-p", "tcp", side, str(port), "-j", "DROP")


def lose_nothing() -> None:
    """Stop dropping packets; TCP sends the lost ones again at its next retry."""
    if inside():
        _iptables("-F", _CHAIN)


def _iptables(*arguments: str) -> None:
    subprocess.run(["iptables", *arguments], check=True, capture_output=True)
