"""Valkey without persistence: the services rebuild its contents after a loss."""

import time
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from gifchat_cli.ports import LOOPBACK
from gifchat_cli.servers.readiness import NotReadyError
from gifchat_contracts import keys


@dataclass(frozen=True, slots=True)
class Valkey:
    """One valkey-server on the loopback interface."""

    binary: Path
    port: int
    work_dir: Path

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def command(self) -> list[str]:
        """Return the command line; logs go to standard output."""
        return [
            str(self.binary),
            *("--bind", LOOPBACK, "--port", str(self.port), "--dir", str(self.work_dir)),
            *("--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"),
        ]

    def wait_until_ready(self, timeout_s: float = 10.0) -> None:
        """Wait until the server answers. Blocks.

        Raises:
            NotReadyError: the server was not ready within `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        with Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                except RedisConnectionError as error:
                    if time.monotonic() > deadline:
                        raise NotReadyError(f"valkey-server on port {self.port} does not answer: {error}") from error
                    time.sleep(0.02)
                except RedisError as error:
                    raise NotReadyError(f"valkey-server on port {self.port} refuses: {error}") from error
                else:
                    return


def mark_as_new(url: str) -> None:
    """Mark every partition of an empty server as complete, so that the first users do not have to wait for a recovery.

    Call this only before a gateway uses the server. Later, the gateways would give lost seats to other users.
    """
    with Redis.from_url(url) as client:
        client.mset({keys.generation(partition): "0" for partition in range(keys.PARTITIONS)})
