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
    """One room after the other, without a backlog; then a message each millisecond."""
    contenders = [servers.KERNEL, servers.OURS, servers.NODE, servers.STOCK]
    columns = {
        "us": "µs of server CPU per message, no backlog",
        "paced_us": "the same at 1,000 messages a second",
        "paced_p99_ms": "p99 of a delivery then, ms",
    }
    result = Result("rooms-of-5", TITLE, columns)
    at_once, paced = options.size(10_000, 1_000), options.size(3_000, 1_000)

    def measure(clients: Load) -> Mapping[str, float]:
        closed = clients.run("closed", at_once)
        opened = clients.run("open", paced, EVERY_US)
        return {
            "us": closed.us_per_message,
            "paced_us": opened.us_per_message,
            "paced_p99_ms": opened.p99_us / 1000,
        }

    with scene(contenders, rooms=ROOMS, members=MEMBERS, log=log) as loads:
        measures = {each.server.contender.label: partial(measure, each) for each in loads}
        result.rows = interleaved(measures, options.rounds, log)
    result.ratio("≤ Node / 2.3", servers.OURS.label, servers.NODE.label, "us", 1 / 2.3)
    result.notes.append(
        "To one room after the other: the next message when the one before is with everybody, and once more with a "
        "pause between them, in which processors and caches go cold; pings and leases, which go on meanwhile, are "
        "then a larger part of it."
    )
    return result
