"""Drives the load generator, and reads the server's CPU clock before and after."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.harness import machine
from benchmarks.harness.contenders import built, room_id
from benchmarks.harness.testbed import Contender, Server
from benchmarks.harness.wire import write_messages
from gifchat_cli.bench import generator
from gifchat_cli.bench.generator import GeneratorError, LoadGenerator, client_line
from gifchat_contracts.identity import SESSION_COOKIE
from gifchat_contracts.ids import RoomId
from gifchat_testkit.tokens import session_cookie

CONNECT_TIMEOUT_S = 150.0
CLOSED_TIMEOUT_S = 60.0
MAX_WARM_UP_MESSAGES = 10_000
"""The limit for small rooms, where a message costs much more than its deliveries."""

Mode = Literal["closed", "open"]


class RunFailedError(Exception):
    """A run is invalid, for example because a message or a client was lost."""


@dataclass(frozen=True, slots=True)
class Run:
    """The measurements of a run."""

    messages: int
    deliveries: int
    seconds: float
    server_cpu_s: float
    load_share: float
    """The share of its core that the load generator used."""
    p50_us: int
    p99_us: int
    last_p50_us: int
    last_p99_us: int
    """The time until all members had a message."""

    @property
    def us_per_delivery(self) -> float:
        """The server's CPU time per delivery."""
        return self.server_cpu_s * 1e6 / self.deliveries

    @property
    def us_per_message(self) -> float:
        """The server's CPU time per message."""
        return self.server_cpu_s * 1e6 / self.messages


@dataclass(frozen=True, slots=True)
class Arrival:
    """The cost of connecting."""

    clients: int
    seconds: float
    server_cpu_s: float
    p50_us: int
    p99_us: int


class Load:
    """The clients of one server."""

    def __init__(self, load_generator: LoadGenerator, server: Server) -> None:
        self._generator = load_generator
        self.server = server

    def connect(self, count: int, timeout_s: float = CONNECT_TIMEOUT_S) -> Arrival:
        """Connect the next `count` clients, and wait until they have joined."""
        before = machine.cpu_s(self.server.pid)
        answer = self.ask(f"connect {count} {timeout_s}", timeout_s)
        if answer["joined"] != count:
            raise RunFailedError(f"{self.server.name}: {answer['joined']} of {count} clients joined: {answer['why']}")
        cpu_s = machine.cpu_s(self.server.pid) - before
        return Arrival(count, answer["seconds"], cpu_s, answer["took"]["p50_us"], answer["took"]["p99_us"])

    def run(self, mode: Mode, messages: int, interval_us: int = 0, timeout_s: float = CLOSED_TIMEOUT_S) -> Run:
        """Publish, and wait until everything is delivered."""
        before = machine.cpu_s(self.server.pid)
        answer = self.ask(f"run {mode} {messages} {interval_us} {timeout_s}", timeout_s)
        return self._checked(answer, machine.cpu_s(self.server.pid) - before)

    def listen(self, messages: int, timeout_s: float) -> None:
        """Prepare for messages that another process publishes; `finish_listening` returns the result."""
        self.ask(f"run listen {messages} 0 {timeout_s}", 0.0)

    def finish_listening(self, timeout_s: float, *, in_order: bool = True) -> dict[str, Any]:
        """Return the result of `listen`. Pass `in_order=False` if several messages were posted at the same time."""
        answer = self._answer(timeout_s)
        self._checked(answer if in_order else {**answer, "out_of_order": 0}, 0.0)
        if answer["last"]["count"] != answer["published"]:
            raise RunFailedError(f"{self.server.name}: a message is missing or was delivered twice: {answer}")
        return answer

    def idle(self, seconds: float) -> None:
        """Only answer pings."""
        answer = self.ask(f"idle {seconds}", seconds)
        if answer["lost_clients"]:
            raise RunFailedError(f"{self.server.name}: {answer['lost_clients']} clients are lost: {answer['why']}")

    def drop(self, count: int) -> None:
        """Close connections without a handshake."""
        self.ask(f"drop {count}", 10.0)

    def warm_up(self, members: int) -> None:
        """Run until the server has used enough CPU time to be warmed up."""
        contender = self.server.contender
        messages = max(2, round(contender.warm_up_s * 1e6 / (contender.us * members)))
        messages = min(messages, MAX_WARM_UP_MESSAGES)
        self.run("closed", messages)

    def _checked(self, answer: dict[str, Any], cpu_s: float) -> Run:
        if (
            answer["delivered"] != answer["expected"]
            or not answer["published"]
            or answer["out_of_order"]
            or answer["lost_clients"]
        ):
            lines = self.server.log.read_text(errors="replace").splitlines()
            tail = "\n".join(line[:400] for line in lines if '"connected"' not in line and '"disconnected"' not in line)
            raise RunFailedError(f"{self.server.name}: {answer}\n{tail[-4_000:]}")
        return Run(
            messages=answer["published"],
            deliveries=answer["delivered"],
            seconds=answer["seconds"],
            server_cpu_s=cpu_s,
            load_share=answer["cpu_share"],
            p50_us=answer["took"]["p50_us"],
            p99_us=answer["took"]["p99_us"],
            last_p50_us=answer["last"]["p50_us"],
            last_p99_us=answer["last"]["p99_us"],
        )

    def ask(self, command: str, timeout_s: float) -> dict[str, Any]:
        """Send a command and return its answer."""
        self._generator.tell(command)
        return self._answer(timeout_s)

    def _answer(self, timeout_s: float) -> dict[str, Any]:
        try:
            return self._generator.answer(timeout_s)
        except GeneratorError as error:
            raise RunFailedError(f"{self.server.name}: {error}") from error


@contextmanager
def load(
    server: Server,
    folder: Path,
    rooms_of_clients: Sequence[int],
    *,
    rooms: Sequence[int] = (),
    room_ids: Sequence[RoomId] | None = None,
    at_once: int = 64,
) -> Iterator[Load]:
    """Prepare the clients of `server` without connecting them; messages go to `rooms` in turn.

    `room_ids`: the ids of existing rooms. Without them the clients use the stand-in, where every room exists.
    """
    name = f"{server.name}-{server.port}"
    clients, messages = folder / f"{name}.clients", folder / f"{name}.messages"
    numbers = {room: at for at, room in enumerate(rooms)}
    _write_clients(clients, server.contender, list(rooms_of_clients), numbers, room_ids)
    command = [str(built(generator.SOURCE)), "--port", str(server.port), "--clients", str(clients)]
    if rooms:
        write_messages(messages, map(server.message, rooms))
        command += ["--messages", str(messages), "--publish-port", str(server.publish_port)]
    if server.contender.opaque:
        command.append("--opaque")
    with generator.started(machine.pinned(machine.LOAD_CORE, [*command, "--at-once", str(at_once)])) as started:
        yield Load(started, server)


def _write_clients(
    file: Path, contender: Contender, rooms: Sequence[int], numbers: Mapping[int, int], ids: Sequence[RoomId] | None
) -> None:
    """Write a line per client.

    `rooms` has the room of each client. `numbers` maps a room to its number in the load generator. `ids` are the ids of
    existing rooms; without them, ids are derived from the numbers.
    """
    with file.open("w") as lines:
        for client, room in enumerate(rooms):
            cookie = f"{SESSION_COOKIE}={session_cookie(f'bench-session-{client:08d}')}" if contender.cookies else "-"
            id_ = room_id(contender.first_room + room) if ids is None else ids[room]
            lines.write(client_line(numbers.get(room, room), cookie, id_))
