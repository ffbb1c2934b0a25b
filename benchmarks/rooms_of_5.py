"""1,000 rooms of 5 members: what does a message cost where each room is another?"""

from collections.abc import Mapping
from functools import partial

from benchmarks.harness import servers
from benchmarks.harness.fan_out import Log, scene
from benchmarks.harness.load import Load
from benchmarks.harness.rounds import Options, Result, interleaved

TITLE = "1,000 rooms of 5: CPU per message"
ROOMS = 1_000
MEMBERS = 5
EVERY_US = 1_000


def run(options: Options, log: Log) -> Result:
    """A message each millisecond, to one room after the other."""
    contenders = [servers.KERNEL, servers.OURS, servers.NODE, servers.STOCK]
    columns = {"us": "µs of server CPU per message", "p99_ms": "p99 of a delivery, ms"}
    result = Result("rooms-of-5", TITLE, columns)
    messages = options.size(3_000, 1_000)

    def measure(clients: Load) -> Mapping[str, float]:
        run = clients.run("open", messages, EVERY_US)
        return {"us": run.us_per_message, "p99_ms": run.p99_us / 1000}

    with scene(contenders, rooms=ROOMS, members=MEMBERS, log=log) as loads:
        measures = {each.server.contender.label: partial(measure, each) for each in loads}
        result.rows = interleaved(measures, options.rounds, log)
    result.ratio("≤ Node / 2.3", servers.OURS.label, servers.NODE.label, "us", 1 / 2.3)
    result.notes.append("1,000 messages a second, to one room after the other.")
    return result
