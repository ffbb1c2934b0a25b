"""Valkey without persistence: what it holds may be lost and is rebuilt."""

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
        """What a client connects to."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def command(self) -> list[str]:
        """The command line; logs go to standard output."""
        return [
            str(self.binary),
            *("--bind", LOOPBACK, "--port", str(self.port), "--dir", str(self.work_dir)),
            *("--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"),
        ]

    def wait_until_ready(self, timeout_s: float = 10.0) -> None:
        """Wait until the server answers. Blocks.

        Raises:
            NotReadyError: not within `timeout_s`.
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
    """Say in every partition that this empty server lost nothing, so that the first users need not wait.

    Right only before any gateway has used it; otherwise seats that were lost would be given away again.
    """
    with Redis.from_url(url) as client:
        client.mset({keys.generation(partition): "0" for partition in range(keys.PARTITIONS)})
