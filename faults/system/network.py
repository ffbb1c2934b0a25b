"""A network of its own, in which packets can get lost (Linux, as root).

A proxy holds bytes back, but both its sides still answer each other. Here packets vanish, as with a pulled cable:
nothing is refused, nothing is reset, and TCP goes on trying.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

_INSIDE = "GIFCHAT_FAULTS_OWN_NETWORK"
_TOOLS = ("unshare", "ip", "iptables")
_CHAIN = "INPUT"


def inside() -> bool:
    """Whether this process was started by a `command`."""
    return _INSIDE in os.environ


def command(inner: Sequence[str]) -> list[str]:
    """What runs `inner` in a network of its own, with a loopback interface and nothing else."""
    return ["unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *inner]


def environment() -> Mapping[str, str]:
    """What a `command` runs with."""
    return {**os.environ, _INSIDE: "1"}


def unavailable() -> str:
    """Why there can be no such network here; empty where there can be one."""
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
    """From now on no TCP packet to or from these ports arrives.

    Raises:
        AssertionError: this process shares its network with others.
    """
    assert inside(), "packets are lost in a network of the run's own alone"
    for port in ports:
        for side in ("--dport", "--sport"):
            _iptables("-A", _CHAIN, "-p", "tcp", side, str(port), "-j", "DROP")


def lose_nothing() -> None:
    """All packets arrive again; those that were lost are sent again by TCP, when it tries next."""
    if inside():
        _iptables("-F", _CHAIN)


def _iptables(*arguments: str) -> None:
    subprocess.run(["iptables", *arguments], check=True, capture_output=True)
