"""Does a delivery stay as cheap when a room grows?"""

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness import contenders, machine
from benchmarks.harness.fan_out import SETTLE_S, Log, messages_for
from benchmarks.harness.load import load
from benchmarks.harness.rounds import Options, Result
from benchmarks.harness.testbed import open_testbed

TITLE = "Growth: members per room, CPU per delivery"
MEMBERS = (100, 1_000, 5_000, 20_000)


def run(options: Options, log: Log) -> Result:
    """Measure each server while its room grows."""
    result = Result("growth-members", TITLE, {"us": "µs of server CPU per delivery"})
    result.x_axis, result.y_axis = "members", "µs per delivery"
    most = min(options.size(20_000, 1_000), machine.raise_file_limit())
    sizes = sorted({min(each, most) for each in MEMBERS})
    for contender in (contenders.KERNEL, contenders.OURS, contenders.NODE):
        with TemporaryDirectory(prefix="gifchat-bench-") as name, open_testbed(Path(name)) as testbed:
            server = testbed.start(contender)
            with load(server, Path(name), [0] * sizes[-1], rooms=[0]) as clients:
                there = 0
                for members in sizes:
                    clients.connect(members - there)
                    clients.idle(SETTLE_S)
                    if not there:
                        clients.warm_up(members)
                    there = members
                    messages = messages_for(clients, members, options.size(10, 3) / 10)
                    runs = [clients.run("closed", messages) for _ in range(options.rounds)]
                    result.point(contender.label, members, "us", [run.us_per_delivery for run in runs])
                    log(f"  {contender.label}, {members:,} members: {runs[-1].us_per_delivery:.4g} µs")
    return result
