"""What does a message cost in 1,000 rooms of 5 members?"""

from collections.abc import Mapping
from functools import partial

from benchmarks.harness import contenders
from benchmarks.harness.fan_out import Log, connected_loads
from benchmarks.harness.load import Load
from benchmarks.harness.rounds import Options, Result, interleaved

TITLE = "1,000 rooms of 5: CPU per message"
ROOMS = 1_000
MEMBERS = 5
EVERY_US = 1_000


def run(options: Options, log: Log) -> Result:
    """Publish to all rooms at once, then to one room after the other, then once per millisecond."""
    compared = [
        contenders.KERNEL,
        contenders.OURS,
        *contenders.checkouts(options.checkouts),
        contenders.NODE,
        contenders.STOCK,
    ]
    columns = {
        "us": "µs of server CPU per message, all rooms at once",
        "per_s": "messages per second, all rooms at once",
        "single_us": "µs, one message at a time",
        "paced_us": "µs, 1,000 messages a second",
        "paced_p99_ms": "p99 of a delivery at 1,000 a second, ms",
    }
    result = Result("rooms-of-5", TITLE, columns)
    times, single, paced = options.size(10, 2), options.size(5_000, 1_000), options.size(3_000, 1_000)

    def measure(clients: Load) -> Mapping[str, float]:
        at_once = [clients.run("open", ROOMS) for _ in range(times)]
        closed = clients.run("closed", single)
        opened = clients.run("open", paced, EVERY_US)
        return {
            "us": sum(each.us_per_message for each in at_once) / times,
            "per_s": times * ROOMS / sum(each.seconds for each in at_once),
            "single_us": closed.us_per_message,
            "paced_us": opened.us_per_message,
            "paced_p99_ms": opened.p99_us / 1000,
        }

    with connected_loads(compared, rooms=ROOMS, members=MEMBERS, log=log) as loads:
        measures = {each.server.contender.label: partial(measure, each) for each in loads}
        result.rows = interleaved(measures, options.rounds, log)
    result.ratio("≤ Node / 2.3", contenders.OURS.label, contenders.NODE.label, "us", 1 / 2.3)
    result.notes.append(
        "All rooms at once: the server is busy, and no two messages go to the same room, so no writes are "
        "combined. The bar applies to this column. A message takes five sends, as in the measurements that set the "
        "bar. In the other columns, a server sleeps and wakes for each message and finds its caches cold. This costs "
        "the kernel-limit program 15 to 20 µs more, and a gateway 30 to 40 µs. Pings and leases continue meanwhile and "
        "take a larger share."
    )
    return result
