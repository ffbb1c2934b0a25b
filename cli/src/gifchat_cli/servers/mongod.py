"""MongoDB as a replica set of one node, because transactions need a replica set."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from gifchat_cli.ports import LOOPBACK
from gifchat_cli.servers.readiness import NotReadyError

REPLICA_SET = "rs0"
_NOT_YET_INITIALIZED = 94


@dataclass(frozen=True, slots=True)
class Mongod:
    """One mongod on the loopback interface."""

    binary: Path
    port: int
    data_dir: Path

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"mongodb://{LOOPBACK}:{self.port}/?replicaSet={REPLICA_SET}"

    def command(self) -> list[str]:
        """Return the command line; logs go to standard output."""
        return [
            str(self.binary),
            *("--bind_ip", LOOPBACK, "--port", str(self.port), "--nounixsocket"),
            *("--dbpath", str(self.data_dir), "--replSet", REPLICA_SET),
            *("--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "64"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        ]

    def make_primary(self, timeout_s: float = 30.0) -> None:
        """Wait for the server, make it the primary of its own replica set, and wait until it accepts writes.

        May be called again, also on data written while the server used another port. Blocks.

        Raises:
            NotReadyError: the server was not ready within `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        self._configure(deadline)
        # A client created before replSetInitiate never sees the replica set, so this one is new.
        with MongoClient[dict[str, Any]](self.url, serverSelectionTimeoutMS=_ms_until(deadline)) as client:
            try:
                client.admin.command("ping")
            except PyMongoError as error:
                raise NotReadyError(f"mongod on port {self.port} did not become primary: {error}") from error

    def _configure(self, deadline: float) -> None:
        members = [{"_id": 0, "host": f"{LOOPBACK}:{self.port}"}]
        with MongoClient[dict[str, Any]](
            LOOPBACK, self.port, directConnection=True, serverSelectionTimeoutMS=_ms_until(deadline)
        ) as client:
            try:
                config = client.admin.command("replSetGetConfig")["config"]
                if config["members"][0]["host"] != members[0]["host"]:
                    moved = {**config, "version": config["version"] + 1, "members": members}
                    client.admin.command("replSetReconfig", moved, force=True)
            except OperationFailure as error:
                if error.code != _NOT_YET_INITIALIZED:
                    raise
                client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
            except PyMongoError as error:
                raise NotReadyError(f"mongod on port {self.port} does not answer: {error}") from error


def _ms_until(deadline: float) -> int:
    return max(1, int((deadline - time.monotonic()) * 1000))
