"""What does a delivery cost in a room of 1,000 without a backlog?"""

from benchmarks.harness import contenders
from benchmarks.harness.fan_out import Log, cost_of_deliveries
from benchmarks.harness.rounds import Options, Result

TITLE = "One room of 1,000, no backlog: CPU per delivery"


def run(options: Options, log: Log) -> Result:
    """Measure all contenders."""
    compared = [
        contenders.KERNEL,
        contenders.OURS,
        *contenders.checkouts(options.checkouts),
        contenders.NODE,
        contenders.NODE_CLASSIC,
        contenders.STOCK,
        contenders.STOCK_DEFLATE,
    ]
    columns = {
        "us": "µs of server CPU per delivery",
        "last_p50_ms": "ms until the last member has the message (median)",
    }
    result = Result("room-1000", TITLE, columns)
    result.rows = cost_of_deliveries(compared, members=1_000, options=options, log=log)
    ours, node = contenders.OURS.label, contenders.NODE.label
    result.ratio("≤ Node (warmed up) / 1.2", ours, node, "us", 1 / 1.2)
    result.ratio("≤ stock / 9", ours, contenders.STOCK.label, "us", 1 / 9)
    result.ratio("≤ 1.15 × the kernel's limit", ours, contenders.KERNEL.label, "us", 1.15)
    return result
