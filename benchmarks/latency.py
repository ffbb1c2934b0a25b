"""How long does a delivery take at 5,000 deliveries per second, in 20 rooms of 50?"""

from collections.abc import Mapping
from functools import partial

from benchmarks.harness import contenders
from benchmarks.harness.fan_out import Log, connected_loads
from benchmarks.harness.load import Load
from benchmarks.harness.rounds import Options, Result, interleaved

TITLE = "Delivery latency at 5,000 deliveries per second"
ROOMS = 20
MEMBERS = 50
EVERY_US = 10_000


def run(options: Options, log: Log) -> Result:
    """Publish 100 messages per second, each to 50 members."""
    columns = {"p50_ms": "p50, ms", "p99_ms": "p99, ms", "cpu": "share of the server's core"}
    result = Result("latency", TITLE, columns)
    messages = options.size(400, 150)

    def measure(clients: Load) -> Mapping[str, float]:
        run = clients.run("open", messages, EVERY_US)
        return {"p50_ms": run.p50_us / 1000, "p99_ms": run.p99_us / 1000, "cpu": run.server_cpu_s / run.seconds}

    compared = [
        contenders.KERNEL,
        contenders.OURS,
        *contenders.checkouts(options.checkouts),
        contenders.NODE,
        contenders.STOCK,
    ]
    with connected_loads(compared, rooms=ROOMS, members=MEMBERS, log=log) as loads:
        measures = {each.server.contender.label: partial(measure, each) for each in loads}
        result.rows = interleaved(measures, options.rounds, log)
    result.ratio("p99 ≤ Node's", contenders.OURS.label, contenders.NODE.label, "p99_ms", 1.0)
    result.notes.append(
        "Measured from publishing to the client's read. This includes Valkey, except for the kernel's limit."
    )
    return result
