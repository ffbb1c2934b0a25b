"""Valkey for fault tests: one server, or a primary and a replica."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from redis import Redis

from gifchat_cli.ports import LOOPBACK
from gifchat_cli.servers.valkey import Valkey
from gifchat_testkit.processes import ServerProcess
from gifchat_testkit.proxy import TcpProxy

_POLL_INTERVAL_S = 0.02
_TIMEOUT_S = 5.0


class ValkeySet:
    """The valkey-servers of a cluster, with their processes. Call blocking methods in a thread."""

    def __init__(self, members: Sequence[Valkey], processes: Sequence[ServerProcess], link: TcpProxy) -> None:
        self.members = list(members)
        self.processes = list(processes)
        self.link = link
        """The proxy for replication; data that it holds back is lost in a failover."""
        self.used = 0
        """The index of the server that all services use."""

    @property
    def spare(self) -> int:
        """The index of the other server."""
        assert len(self.members) == 2, "the set has only one server"
        return 1 - self.used

    def follow(self, timeout_s: float = 10.0) -> None:
        """Make the other server a replica, and wait until it is up to date. Blocks.

        Raises:
            AssertionError: the replica was not up to date within `timeout_s`.
        """
        self.link.target_port = self.members[self.used].port
        deadline = time.monotonic() + timeout_s
        with _client(self.members[self.used]) as primary, _client(self.members[self.spare]) as replica:
            # By default the primary waits five seconds for more replicas.
            primary.config_set("repl-diskless-sync-delay", 0)
            replica.replicaof(LOOPBACK, self.link.port)
            while not _has_everything(primary.info("replication"), replica.info("replication")):
                assert time.monotonic() < deadline, f"no replica within {timeout_s:g} s"
                time.sleep(_POLL_INTERVAL_S)

    def promote(self) -> None:
        """Promote the replica, which all services use from now on. Blocks."""
        with _client(self.members[self.spare]) as replica:
            replica.replicaof("NO", "ONE")
        self.used = self.spare


def _has_everything(primary: Mapping[str, Any], replica: Mapping[str, Any]) -> bool:
    up = bool(replica.get("master_link_status") == "up")
    return up and bool(replica["slave_repl_offset"] == primary["master_repl_offset"])


def _client(member: Valkey) -> Any:
    return Redis.from_url(member.url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S)
