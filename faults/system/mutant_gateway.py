"""`python -m faults.system.mutant_gateway`: a gateway without one of its guarantees, which the checker must notice.

The variable MUTANT names the missing guarantee. The service has no such switch; this module patches it.
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
    """Do not repair gaps."""

    def start(_self: RepairRooms, *_: Any) -> None:
        return None

    _patch(RepairRooms, "_start", start)


def dedupe_off() -> None:
    """Deliver duplicates."""
    receive = Stream.receive

    def deliver(self: Stream, frame: Frame) -> Deliver | Outcome:
        outcome = receive(self, frame)
        return Deliver([frame]) if outcome is Outcome.DUPLICATE else outcome

    _patch(Stream, "receive", deliver)


def sweep_off() -> None:
    """Do not sweep expired seats."""

    async def run(_self: SweepSeats) -> None:
        await asyncio.Event().wait()

    _patch(SweepSeats, "run", run)


def grace_off() -> None:
    """Free the seat of a lost connection at once."""
    init = Settings.__init__

    def without(self: Settings, **values: Any) -> None:
        init(self, **{**values, "seat_grace": 0.0})

    _patch(Settings, "__init__", without)


def max_off() -> None:
    """Admit users to full rooms."""
    admit = RedisSeats.admit

    async def without(self: RedisSeats, *arguments: Any, **more: Any) -> Admission:
        return await admit(self, *arguments, **{**more, "max_members": None})

    _patch(RedisSeats, "admit", without)


MUTANTS: Mapping[str, Callable[[], None]] = {
    mutant.__name__: mutant for mutant in (repair_off, dedupe_off, sweep_off, grace_off, max_off)
}


def _patch(owner: type, name: str, function: Any) -> None:
    assert hasattr(owner, name), f"{owner.__name__} has no {name}: the mutant is out of date"
    setattr(owner, name, function)


def main() -> int:
    """Run the gateway without the guarantee that MUTANT names."""
    MUTANTS[os.environ[VARIABLE]]()
    return gateway.main()


if __name__ == "__main__":
    sys.exit(main())
