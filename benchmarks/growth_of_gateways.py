"""What do gateways with other rooms spend on the messages of the first gateway's room?"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness import contenders, machine
from benchmarks.harness.fan_out import SETTLE_S, Log
from benchmarks.harness.load import Load, load
from benchmarks.harness.rounds import Options, Result
from benchmarks.harness.testbed import open_testbed

TITLE = "Growth: gateways with disjoint rooms, total CPU per message"
GATEWAYS = (1, 2, 4, 8)
MEMBERS = 100
EVERY_US = 5_000


def run(options: Options, log: Log) -> Result:
    """Measure a room of 100 on the first gateway, and subtract the gateways' idle CPU time."""
    result = Result("growth-gateways", TITLE, {"us": "µs of CPU per message, all gateways together"})
    result.x_axis, result.y_axis = "gateways", "µs per message, all gateways"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="gifchat-bench-")))
        testbed = stack.enter_context(open_testbed(folder))
        loads: list[Load] = []
        for count in GATEWAYS[: options.size(len(GATEWAYS), 2)]:
            while len(loads) < count:
                number = len(loads)
                members = [number] * (1 if number else MEMBERS)
                loads.append(stack.enter_context(load(testbed.start(contenders.OURS), folder, members, rooms=[number])))
                loads[-1].connect(len(members))
            loads[0].idle(SETTLE_S)
            values = [_spent_per_message(loads, options.size(400, 200)) for _ in range(options.rounds)]
            result.point(contenders.OURS.label, count, "us", values)
            log(f"  {count} gateways: {values[-1]:.4g} µs")
    result.notes.append(f"{MEMBERS} deliveries per message.")
    return result


def _spent_per_message(loads: Sequence[Load], messages: int) -> float:
    pids = [each.server.pid for each in loads]

    def spent() -> float:
        return sum(map(machine.cpu_s, pids))

    began, before = time.monotonic(), spent()
    loads[0].idle(2.0)
    idle = (spent() - before) / (time.monotonic() - began)
    before = spent()
    run = loads[0].run("open", messages, EVERY_US)
    return (spent() - before - idle * run.seconds) * 1e6 / messages
