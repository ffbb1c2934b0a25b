"""`python -m faults.system.mutant_gateway`: a gateway with one promise taken out; the checker must notice.

The variable MUTANT names what is taken out. The service itself knows nothing of this: the parts are changed here.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from gifchat_contracts.codec import Frame
from gifchat_realtime_gateway import __main__ as gateway
from gifchat_realtime_gateway.adapters.redis_seats import RedisSeats
from gifchat_realtime_gateway.domain.hosted_room import Deliver, Outcome, Stream
from gifchat_realtime_gateway.domain.seats import Admission
from gifchat_realtime_gateway.settings import Settings
from gifchat_realtime_gateway.use_cases.repair_rooms import RepairRooms
from gifchat_realtime_gateway.use_cases.sweep_seats import SweepSeats

MODULE = "faults.system.mutant_gateway"
VARIABLE = "MUTANT"


def repair_off() -> None:
    """A gap stays one."""

    def start(_self: RepairRooms, *_: Any) -> None:
        return None

    _change(RepairRooms, "_start", start)


def dedupe_off() -> None:
    """What comes twice is delivered twice."""
    receive = Stream.receive

    def deliver(self: Stream, frame: Frame) -> Deliver | Outcome:
        outcome = receive(self, frame)
        return Deliver([frame]) if outcome is Outcome.DUPLICATE else outcome

    _change(Stream, "receive", deliver)


def sweep_off() -> None:
    """Nobody looks for the seats of the dead."""

    async def run(_self: SweepSeats) -> None:
        await asyncio.Event().wait()

    _change(SweepSeats, "run", run)


def grace_off() -> None:
    """Who is away for a moment has gone."""
    init = Settings.__init__

    def without(self: Settings, **values: Any) -> None:
        init(self, **{**values, "seat_grace": 0.0})

    _change(Settings, "__init__", without)


def max_off() -> None:
    """A room is never full."""
    admit = RedisSeats.admit

    async def without(self: RedisSeats, *arguments: Any, max_members: int, **more: Any) -> Admission:
        return await admit(self, *arguments, max_members=max_members + 1_000, **more)

    _change(RedisSeats, "admit", without)


MUTANTS: Mapping[str, Callable[[], None]] = {
    mutant.__name__: mutant for mutant in (repair_off, dedupe_off, sweep_off, grace_off, max_off)
}


def _change(owner: type, name: str, function: Any) -> None:
    assert hasattr(owner, name), f"{owner.__name__} has no {name}: the mutant is out of date"
    setattr(owner, name, function)


def main() -> int:
    """Take out what MUTANT names, and run the gateway."""
    MUTANTS[os.environ[VARIABLE]]()
    return gateway.main()


if __name__ == "__main__":
    sys.exit(main())
