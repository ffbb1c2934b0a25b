"""The testbed: starts servers, and the Valkey and the stand-in for rooms-api that they share."""

import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from benchmarks.harness import machine
from benchmarks.harness.wire import Message
from gifchat_cli.ports import choose_port
from gifchat_cli.prerequisites import find_valkey_server
from gifchat_cli.servers.readiness import NotReadyError, get_health
from gifchat_cli.servers.valkey import Valkey, mark_as_new
from gifchat_testkit.servers import running


@dataclass
class Server:
    """A running server."""

    contender: "Contender"
    pid: int
    port: int
    publish_port: int
    log: Path

    @property
    def name(self) -> str:
        """A short name, for results."""
        return self.contender.name

    def message(self, room: int) -> Message:
        """Return the bytes to publish for a message to a room."""
        return self.contender.message(self.contender.first_room + room)


@dataclass(frozen=True)
class Contender:
    """A kind of server."""

    name: str
    label: str
    us: float
    """About how many µs of CPU a delivery costs in a room of 1,000. This determines the number of messages."""
    message: Callable[[int], Message]
    command: Callable[["Testbed", int, int], list[str]]
    warm_up_s: float = 0.5
    """CPU time for warming up; a JIT needs more."""
    cookies: bool = False
    health: str | None = None
    """The path to probe for readiness; None: an open port is enough."""
    opaque: bool = False
    """Whether frames are compressed, so that they are counted but not read."""
    own_publish_port: bool = False
    """Whether it receives messages on a port of its own instead of from Valkey."""
    first_room: int = 0
    """The number of its first room. Gateways on the same Valkey need different rooms."""


@dataclass
class Testbed:
    """What the servers of a benchmark share: Valkey, a stand-in for rooms-api, and ports."""

    folder: Path
    stack: ExitStack
    valkey: Valkey
    valkey_pid: int
    rooms_api_port: int
    taken: list[int] = field(default_factory=list)

    def port(self) -> int:
        """Return a free port."""
        port = choose_port(None, self.taken)
        self.taken.append(port)
        return port

    @contextmanager
    def running(self, contender: Contender, *, rooms_api_port: int | None = None) -> Iterator[Server]:
        """Run a server until the block ends; `rooms_api_port` names a real rooms-api instead of the stand-in."""
        port = self.port()
        testbed = self if rooms_api_port is None else replace(self, rooms_api_port=rooms_api_port)
        control = self.port() if contender.own_publish_port else self.valkey.port
        command = machine.pinned(machine.SERVER_CORE, contender.command(testbed, port, control))
        ready = partial(wait_for, port, contender.health)
        with running(f"{contender.name}-{port}", command, self.folder, ready) as pid:
            yield Server(contender, pid, port, control, self.folder / f"{contender.name}-{port}.log")

    def start(self, contender: Contender, *, rooms_api_port: int | None = None) -> Server:
        """Start a server that runs as long as the testbed."""
        return self.stack.enter_context(self.running(contender, rooms_api_port=rooms_api_port))


@contextmanager
def open_testbed(folder: Path) -> Iterator[Testbed]:
    """Start a new Valkey and the stand-in."""
    with ExitStack() as stack:
        valkey = Valkey(find_valkey_server(), choose_port(None, []), folder)
        valkey_pid = stack.enter_context(
            running("valkey", machine.pinned(machine.LOAD_CORE, valkey.command()), folder, valkey.wait_until_ready)
        )
        mark_as_new(valkey.url)
        port = choose_port(None, [valkey.port])
        stand_in = machine.pinned(
            machine.LOAD_CORE,
            with_environment(
                {"PORT": str(port), "PYTHONPATH": str(machine.ROOT)},
                [sys.executable, "-m", "benchmarks.peers.rooms_api_stand_in"],
            ),
        )
        stack.enter_context(running("rooms-api-stand-in", stand_in, folder, partial(wait_for, port)))
        yield Testbed(folder, stack, valkey, valkey_pid, port, [valkey.port, port])


def with_environment(environment: dict[str, str], command: list[str]) -> list[str]:
    """Return the command with these environment variables."""
    return ["env", *(f"{name}={value}" for name, value in environment.items()), *command]


def wait_for(port: int, health: str | None = None, timeout_s: float = 30.0) -> None:
    """Wait until the server accepts connections, and reports that it is healthy if `health` names a path.

    Raises:
        NotReadyError: it was not ready in time.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if health is not None:
                get_health(port, health)
            else:
                socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except (OSError, NotReadyError) as error:
            if time.monotonic() > deadline:
                raise NotReadyError(f"port {port}: {error}") from error
            time.sleep(0.05)
        else:
            return
