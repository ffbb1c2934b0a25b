"""The viewers, and the one writer who posts to them."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

from gifchat_cli.bench import generator
from gifchat_cli.bench.generator import LoadGenerator, client_line, stamp
from gifchat_cli.bench.ramp import Step
from gifchat_cli.bench.visitor import FrontDoor, RefusedError, Room

TITLE = "gifchat bench (removed when it ends)"
SETTLE_S = 2.0
"""Pause after the last join, so that its announcements are over before the measurement."""
_MIN_JOINS_PER_S = 50
"""Viewers that have not joined at this rate, plus `_JOIN_TIMEOUT_S`, count as not admitted."""
_JOIN_TIMEOUT_S = 30.0
_DELIVERY_TIMEOUT_S = 15.0
"""A delivery up to this long after its step counts as late; a later one counts as lost."""
_LEAVE_BATCH = 250
_PACED_BATCH = 50
"""Joins per second, once the front door has refused some joins because of its rate limit."""


class AudienceError(Exception):
    """The audience could not grow, or lost viewers; `str()` says why."""


@dataclass(frozen=True, slots=True)
class Address:
    """The front door's address, for the load generator's own connections."""

    ip: str
    host: str
    port: int


class Audience:
    """Viewers in rooms of `room_size`; rooms are created when needed."""

    def __init__(
        self, door: FrontDoor, load: LoadGenerator, clients: TextIO, rooms: list[Room], room_size: int
    ) -> None:
        self._door = door
        self._load = load
        self._clients = clients
        self._rooms = rooms
        self._room_size = room_size
        self._numbers: list[int] = []
        """Number of messages posted to each room, by the room's index."""
        self._posted = count()
        self._batch: int | None = None
        self._attempted = 0
        """Viewers that asked to join, including refused ones: each takes a place in a room."""
        self.viewers = 0
        self.gateways = 0
        """The number of gateways that hold viewers, according to the front door's cookies."""

    def grow_to(self, viewers: int) -> None:
        """Connect more viewers, and slow down if the front door limits their rate.

        Raises:
            AudienceError: a viewer was not admitted, or was lost meanwhile.
        """
        while self.viewers < viewers:
            missing = viewers - self.viewers
            answer = self._connect(min(missing, self._batch or missing))
            if answer["joined"] < answer["asked"]:
                why = answer["why"] or "timeout"
                if " 429" not in why or (self._batch and not answer["joined"]):
                    raise AudienceError(f"{answer['asked'] - answer['joined']} viewers were not admitted: {why}")
                self._batch = _PACED_BATCH
            if self._batch:
                self._idle(1.0)
        self._idle(SETTLE_S)

    def write(self, rate: float, seconds: float, on_message: Callable[[float], None]) -> Step:
        """Post at `rate` for `seconds`, to the rooms in turn, and wait for all deliveries.

        Latency is measured from when a message was due, so a slow reply also adds to the latency of the next messages.

        Raises:
            AudienceError: the writer was refused.
        """
        messages = max(2, round(rate * seconds))
        timeout_s = messages / rate + _DELIVERY_TIMEOUT_S
        self._load.ask(f"run listen {messages} 0 {timeout_s}", 0.0)
        began = time.monotonic()
        for at in range(messages):
            due = began + at / rate
            time.sleep(max(0.0, due - time.monotonic()))
            room = at % len(self._rooms)
            self._numbers[room] += 1
            posted = next(self._posted)
            text = stamp(int(due * 1e6), self._numbers[room], posted)
            try:
                self._door.post(self._rooms[room], text, f"bench-{posted}")
            except RefusedError as error:
                raise AudienceError(f"the writer was refused: {error}") from error
            on_message((at + 1) / messages)
        result = self._load.answer(timeout_s)
        return Step(
            viewers=self.viewers,
            messages=messages,
            deliveries=result["delivered"],
            expected=result["expected"],
            out_of_order=result["out_of_order"],
            lost_viewers=result["lost_clients"],
            deliveries_per_s=round(result["delivered"] / max(result["seconds"], messages / rate), 1),
            p50_ms=result["took"]["p50_us"] / 1e3,
            p99_ms=result["took"]["p99_us"] / 1e3,
            load_share=result["cpu_share"],
        )

    def leave(self) -> None:
        """Disconnect all viewers in small groups: losing thousands at once would block a gateway."""
        while self.viewers:
            leaving = min(self.viewers, _LEAVE_BATCH)
            self._load.ask(f"drop {leaving}", 0.0)
            self._load.ask("idle 0.25", 0.25)
            self.viewers -= leaving

    def _connect(self, viewers: int) -> dict[str, Any]:
        try:
            for _ in range(viewers):
                room = self._attempted // self._room_size
                self._attempted += 1
                if room == len(self._rooms):
                    self._rooms.append(self._door.new_room(TITLE, max(2, self._room_size)))
                    self._numbers.append(0)
                self._clients.write(client_line(room, self._door.new_session(), self._rooms[room].id))
        except RefusedError as error:
            raise AudienceError(f"a viewer was refused: {error}") from error
        finally:
            self._clients.flush()
        timeout_s = _JOIN_TIMEOUT_S + viewers / _MIN_JOINS_PER_S
        answer = self._load.ask(f"connect {viewers} {timeout_s}", timeout_s)
        self.viewers += answer["joined"]
        self.gateways = answer["gateways"]
        return answer

    def _idle(self, seconds: float) -> None:
        answer = self._load.ask(f"idle {seconds}", seconds)
        if answer["lost_clients"]:
            raise AudienceError(f"{answer['lost_clients']} viewers were lost: {answer['why']}")


@contextmanager
def audience(door: FrontDoor, address: Address, room_size: int, say: Callable[[str], None]) -> Iterator[Audience]:
    """Yield an empty audience; afterwards disconnect all viewers and remove the rooms.

    Raises:
        PrerequisiteError: the load generator cannot be built.
    """
    rooms: list[Room] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="gifchat-bench-")))
        program, clients = folder / "load_generator", folder / "clients"
        generator.build(program)
        stack.callback(_remove, door, rooms, say)
        lines = stack.enter_context(clients.open("w"))
        command = [
            *(str(program), "--address", address.ip, "--host", address.host, "--port", str(address.port)),
            *("--clients", str(clients)),
        ]
        load = stack.enter_context(generator.started(command))
        viewers = Audience(door, load, clients=lines, rooms=rooms, room_size=room_size)
        yield viewers
        viewers.leave()


def _remove(door: FrontDoor, rooms: list[Room], say: Callable[[str], None]) -> None:
    for room in rooms:
        try:
            door.delete(room)
        except RefusedError as error:
            say(f"Could not remove room {room.id} ({error}); the janitor removes it once it is empty.")
