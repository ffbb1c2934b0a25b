"""What does a delivery cost in a room of 1,000 without a backlog?"""

from benchmarks.harness import servers
from benchmarks.harness.fan_out import Log, cost_of_deliveries
from benchmarks.harness.rounds import Options, Result

TITLE = "One room of 1,000, no backlog: CPU per delivery"


def run(options: Options, log: Log) -> Result:
    """Measure all contenders."""
    contenders = [
        servers.KERNEL,
        servers.OURS,
        *servers.checkouts(options.checkouts),
        servers.NODE,
        servers.NODE_CLASSIC,
        servers.STOCK,
        servers.STOCK_DEFLATE,
    ]
    columns = {
        "us": "µs of server CPU per delivery",
        "last_p50_ms": "ms until the last member has the message (median)",
    }
    result = Result("room-1000", TITLE, columns)
    result.rows = cost_of_deliveries(contenders, members=1_000, options=options, log=log)
    ours, node = servers.OURS.label, servers.NODE.label
    result.ratio("≤ Node (warmed up) / 1.2", ours, node, "us", 1 / 1.2)
    result.ratio("≤ stock / 9", ours, servers.STOCK.label, "us", 1 / 9)
    result.ratio("≤ 1.15 × the kernel's limit", ours, servers.KERNEL.label, "us", 1.15)
    return result
