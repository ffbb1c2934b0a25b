"""What does a delivery cost in a room of 5,000, whose members no longer fit into the CPU caches?"""

from benchmarks.harness import servers
from benchmarks.harness.fan_out import Log, cost_of_deliveries
from benchmarks.harness.rounds import Options, Result

TITLE = "One room of 5,000, no backlog: CPU per delivery"


def run(options: Options, log: Log) -> Result:
    """Measure all contenders."""
    contenders = [servers.KERNEL, servers.OURS, *servers.checkouts(options.checkouts), servers.NODE, servers.STOCK]
    columns = {
        "us": "µs of server CPU per delivery",
        "last_p50_ms": "ms until the last member has the message (median)",
    }
    result = Result("room-5000", TITLE, columns)
    result.rows = cost_of_deliveries(contenders, members=5_000, options=options, log=log)
    result.ratio("≤ Node / 2", servers.OURS.label, servers.NODE.label, "us", 1 / 2)
    result.ratio("≤ 1.2 × the kernel's limit", servers.OURS.label, servers.KERNEL.label, "us", 1.2)
    return result
