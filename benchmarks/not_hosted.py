"""What do messages for rooms without local members cost a server?"""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness import contenders, machine
from benchmarks.harness.fan_out import SETTLE_S, Log
from benchmarks.harness.load import Load, RunFailedError, load
from benchmarks.harness.rounds import Options, Result, interleaved
from benchmarks.harness.testbed import open_testbed

TITLE = "A message for a room that is not hosted"
ROOMS = 1_000
HOSTED = ROOMS - 1
"""One room has a member. Its message is last, so its delivery shows that the server has read all others."""
EVERY_US = 200
GATEWAYS = 4


def run(options: Options, log: Log) -> Result:
    """Publish to 999 rooms without members and one room with a member; subtract the idle CPU time."""
    result = Result("not-hosted", TITLE, {"us": "µs of server CPU per message"})
    messages = options.size(10 * ROOMS, 5 * ROOMS)

    def measure(clients: Load) -> Mapping[str, float]:
        idle = _idle_share(clients)
        run = clients.run("open", messages, EVERY_US)
        if run.deliveries != messages // ROOMS:
            raise RunFailedError(f"{run.deliveries} deliveries")
        return {"us": max(0.0, run.server_cpu_s - idle * run.seconds) * 1e6 / messages}

    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="gifchat-bench-")))
        testbed = stack.enter_context(open_testbed(folder))
        loads = []
        for contender in (contenders.OURS, contenders.NODE, contenders.NODE_CLASSIC, contenders.STOCK):
            loads.append(stack.enter_context(load(testbed.start(contender), folder, [HOSTED], rooms=range(ROOMS))))
            loads[-1].connect(1)
            loads[-1].idle(SETTLE_S)
        measures = {each.server.contender.label: partial(measure, each) for each in loads}
        result.rows = interleaved(measures, options.rounds, log)
    result.bar("≤ 2 µs", contenders.OURS.label, "us", 2.0)
    _four_gateways(result, options, log)
    return result


def _idle_share(clients: Load, seconds: float = 1.0) -> float:
    """Return the share of a core that the idle server uses."""
    began, before = time.monotonic(), machine.cpu_s(clients.server.pid)
    clients.idle(seconds)
    return (machine.cpu_s(clients.server.pid) - before) / (time.monotonic() - began)


def _four_gateways(result: Result, options: Options, log: Log) -> None:
    """Publish to the first gateway's room, while four gateways host one room each."""
    messages = options.size(5_000, 2_000)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="gifchat-bench-")))
        testbed = stack.enter_context(open_testbed(folder))
        loads = []
        for number in range(GATEWAYS):
            gateway = testbed.start(contenders.OURS)
            loads.append(stack.enter_context(load(gateway, folder, [number], rooms=[number])))
            loads[-1].connect(1)
        loads[0].idle(SETTLE_S)
        others = [each.server.pid for each in loads[1:]]

        def spent() -> float:
            return sum(map(machine.cpu_s, others))

        def measure() -> Mapping[str, float]:
            began, before = time.monotonic(), spent()
            loads[0].idle(2.0)
            idle = (spent() - before) / (time.monotonic() - began)
            before = spent()
            run = loads[0].run("open", messages, EVERY_US)
            return {"us": max(0.0, spent() - before - idle * run.seconds) * 1e6 / messages / len(others)}

        label = f"each of GIF Chat's {GATEWAYS - 1} other gateways"
        result.rows |= interleaved({label: measure}, options.rounds, log)
        result.bar(f"{GATEWAYS} gateways with disjoint rooms share no work (≤ 2 µs)", label, "us", 2.0)
