"""What does a delivery cost in a room of 5,000, whose members no longer fit into the CPU caches?"""

from benchmarks.harness import contenders
from benchmarks.harness.fan_out import Log, cost_of_deliveries
from benchmarks.harness.rounds import Options, Result

TITLE = "One room of 5,000, no backlog: CPU per delivery"


def run(options: Options, log: Log) -> Result:
    """Measure all contenders."""
    compared = [
        contenders.KERNEL,
        contenders.OURS,
        *contenders.checkouts(options.checkouts),
        contenders.NODE,
        contenders.STOCK,
    ]
    columns = {
        "us": "µs of server CPU per delivery",
        "last_p50_ms": "ms until the last member has the message (median)",
    }
    result = Result("room-5000", TITLE, columns)
    result.rows = cost_of_deliveries(compared, members=5_000, options=options, log=log)
    result.ratio("≤ Node / 2", contenders.OURS.label, contenders.NODE.label, "us", 1 / 2)
    result.ratio("≤ 1.2 × the kernel's limit", contenders.OURS.label, contenders.KERNEL.label, "us", 1.2)
    return result
