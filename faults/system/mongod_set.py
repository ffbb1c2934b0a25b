"""MongoDB for fault runs: a replica set of one node behind a proxy, or of three nodes that elect a primary."""

import time
from collections.abc import Sequence
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from gifchat_cli.ports import LOOPBACK
from gifchat_cli.servers.mongod import REPLICA_SET, Mongod
from gifchat_cli.servers.readiness import NotReadyError
from gifchat_testkit.processes import ServerProcess

_NOT_YET_INITIALIZED = 94
ELECTION_TIMEOUT_MS = 2_000
"""Shorter than MongoDB's default of 10 s, to keep runs short; all reported times include it."""


class MongodSet:
    """The mongods of a cluster, with their processes. Call blocking methods in a thread."""

    def __init__(self, members: Sequence[Mongod], processes: Sequence[ServerProcess]) -> None:
        self.members = list(members)
        self.processes = list(processes)

    @property
    def url(self) -> str:
        """The address for clients that follow the set's members."""
        hosts = ",".join(f"{LOOPBACK}:{member.port}" for member in self.members)
        return f"mongodb://{hosts}/?replicaSet={REPLICA_SET}"

    def initiate(self, timeout_s: float) -> None:
        """Initiate the set and wait for a primary. Blocks; may be called again.

        Raises:
            NotReadyError: there was no primary within `timeout_s`.
        """
        if len(self.members) == 1:
            self.members[0].make_primary(timeout_s)
            return
        deadline = time.monotonic() + timeout_s
        for member in self.members:
            ping(member.port, deadline - time.monotonic())
        with _direct(self.members[0].port, deadline) as client:
            try:
                client.admin.command("replSetGetStatus")
            except OperationFailure as error:
                if error.code != _NOT_YET_INITIALIZED:
                    raise
                client.admin.command("replSetInitiate", self._config())
        self.wait_for_primary(deadline - time.monotonic())

    def wait_for_primary(self, timeout_s: float) -> int:
        """Wait for a primary and return its number, from 0. Blocks.

        Raises:
            NotReadyError: there was no primary within `timeout_s`.
        """
        # A client created before replSetInitiate never sees the replica set, so this one is new.
        with MongoClient[dict[str, Any]](self.url, serverSelectionTimeoutMS=max(1, int(timeout_s * 1000))) as client:
            try:
                client.admin.command("ping")
                address = client.primary
            except PyMongoError as error:
                raise NotReadyError(f"no primary within {timeout_s:.1f} s: {error}") from error
        ports = [member.port for member in self.members]
        if address is None:
            raise NotReadyError("the primary has stepped down again")
        return ports.index(address[1])

    def step_down(self, seconds: int = 10) -> int:
        """Make the primary step down for `seconds`, and return its number. Blocks."""
        number = self.wait_for_primary(10.0)
        with _direct(self.members[number].port, time.monotonic() + 10.0) as client:
            client.admin.command({"replSetStepDown": seconds, "secondaryCatchUpPeriodSecs": 5})
        return number

    def _config(self) -> dict[str, Any]:
        return {
            "_id": REPLICA_SET,
            "members": [
                {"_id": number, "host": f"{LOOPBACK}:{member.port}"} for number, member in enumerate(self.members)
            ],
            "settings": {"electionTimeoutMillis": ELECTION_TIMEOUT_MS, "heartbeatIntervalMillis": 500},
        }


def ping(port: int, timeout_s: float = 0.5) -> None:
    """Wait until the mongod on `port` answers, primary or not. Blocks.

    Raises:
        NotReadyError: it did not answer within `timeout_s`.
    """
    with _direct(port, time.monotonic() + timeout_s) as client:
        try:
            client.admin.command("ping")
        except PyMongoError as error:
            raise NotReadyError(f"mongod on port {port} does not answer: {error}") from error


def _direct(port: int, deadline: float) -> MongoClient[dict[str, Any]]:
    left_ms = max(1, int((deadline - time.monotonic()) * 1000))
    return MongoClient[dict[str, Any]](LOOPBACK, port, directConnection=True, serverSelectionTimeoutMS=left_ms)
