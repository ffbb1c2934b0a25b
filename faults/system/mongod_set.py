"""MongoDB for faults: a replica set of one node behind a proxy, or of three that elect."""

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
"""In place of MongoDB's 10 s, so that a run is short; what is reported is measured with this."""


class MongodSet:
    """The mongods of a cluster, with their processes. What blocks says so: call it in a thread."""

    def __init__(self, members: Sequence[Mongod], processes: Sequence[ServerProcess]) -> None:
        self.members = list(members)
        self.processes = list(processes)

    @property
    def url(self) -> str:
        """For a client that follows the set's members."""
        hosts = ",".join(f"{LOOPBACK}:{member.port}" for member in self.members)
        return f"mongodb://{hosts}/?replicaSet={REPLICA_SET}"

    def initiate(self, timeout_s: float) -> None:
        """Make the set and wait for a primary. Blocks; may be called again.

        Raises:
            NotReadyError: not within `timeout_s`.
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
        """The number, from 0, of the member that is primary, as soon as there is one. Blocks.

        Raises:
            NotReadyError: not within `timeout_s`.
        """
        # A client made before replSetInitiate never learns of the set: this one is new.
        with MongoClient[dict[str, Any]](self.url, serverSelectionTimeoutMS=max(1, int(timeout_s * 1000))) as client:
            try:
                client.admin.command("ping")
                address = client.primary
            except PyMongoError as error:
                raise NotReadyError(f"no primary within {timeout_s:.1f} s: {error}") from error
        ports = [member.port for member in self.members]
        if address is None:
            raise NotReadyError("the primary has gone again")
        return ports.index(address[1])

    def step_down(self, seconds: int = 10) -> int:
        """Make the primary step down for so long; returns its number. Blocks."""
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
    """Return when the mongod on `port` answers, primary or not. Blocks.

    Raises:
        NotReadyError: not within `timeout_s`.
    """
    with _direct(port, time.monotonic() + timeout_s) as client:
        try:
            client.admin.command("ping")
        except PyMongoError as error:
            raise NotReadyError(f"mongod on port {port} does not answer: {error}") from error


def _direct(port: int, deadline: float) -> MongoClient[dict[str, Any]]:
    left_ms = max(1, int((deadline - time.monotonic()) * 1000))
    return MongoClient[dict[str, Any]](LOOPBACK, port, directConnection=True, serverSelectionTimeoutMS=left_ms)
