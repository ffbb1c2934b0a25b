"""Does a message stay as cheap when a gateway hosts more rooms?"""

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness import contenders, machine
from benchmarks.harness.fan_out import SETTLE_S, Log
from benchmarks.harness.load import load
from benchmarks.harness.rounds import Options, Result
from benchmarks.harness.testbed import open_testbed

TITLE = "Growth: rooms per gateway, CPU per message"
ROOMS = (1, 100, 1_000, 5_000, 20_000)
EVERY_US = 1_000


def run(options: Options, log: Log) -> Result:
    """Publish a message per millisecond to rooms with one member each, in turn."""
    result = Result("growth-rooms", TITLE, {"us": "µs of server CPU per message"})
    result.x_axis, result.y_axis = "rooms", "µs per message"
    most = min(options.size(20_000, 300), machine.raise_file_limit())
    for rooms in sorted({min(each, most) for each in ROOMS}):
        with TemporaryDirectory(prefix="gifchat-bench-") as name, open_testbed(Path(name)) as testbed:
            server = testbed.start(contenders.OURS)
            with load(server, Path(name), range(rooms), rooms=range(rooms)) as clients:
                arrival = clients.connect(rooms, timeout_s=300.0)
                clients.idle(SETTLE_S)
                runs = [clients.run("open", options.size(2_000, 500), EVERY_US) for _ in range(options.rounds)]
                result.point(contenders.OURS.label, rooms, "us", [run.us_per_message for run in runs])
                log(f"  {rooms:,} rooms (in {arrival.seconds:.1f} s): {runs[-1].us_per_message:.4g} µs")
    result.notes.append("The figure includes the gateway's idle work: leases, sweeping, its canary.")
    return result
