"""How many deliveries per second does an overloaded room of 1,000 get?"""

from collections.abc import Mapping
from functools import partial

from benchmarks.harness import contenders
from benchmarks.harness.fan_out import Log, connected_loads
from benchmarks.harness.load import Load
from benchmarks.harness.rounds import Options, Result, interleaved

TITLE = "Overloaded hot room of 1,000: deliveries per second"
MEMBERS = 1_000
EVERY_US = 500
MESSAGES = {contenders.OURS.name: 2_400, contenders.NODE.name: 240, contenders.STOCK.name: 40}
"""Enough messages to keep each server busy for a few seconds."""


def run(options: Options, log: Log) -> Result:
    """Publish a message every half millisecond, which would take two million deliveries per second."""
    columns = {
        "per_s": "deliveries per second",
        "us": "µs of server CPU per delivery",
        "cpu": "share of the server's core",
        "load": "share of the load generator's core",
    }
    result = Result("hot-room", TITLE, columns)

    def measure(clients: Load) -> Mapping[str, float]:
        run = clients.run("open", MESSAGES[clients.server.name] // options.size(1, 4), EVERY_US)
        return {
            "per_s": run.deliveries / run.seconds,
            "us": run.us_per_delivery,
            "cpu": run.server_cpu_s / run.seconds,
            "load": run.load_share,
        }

    with connected_loads(
        [contenders.OURS, contenders.NODE, contenders.STOCK], rooms=1, members=MEMBERS, log=log
    ) as loads:
        measures = {each.server.contender.label: partial(measure, each) for each in loads}
        result.rows = interleaved(measures, options.rounds, log)
    ours = contenders.OURS.label
    result.ratio("≥ 4.5 × Node", ours, contenders.NODE.label, "per_s", 4.5, at_most=False)
    result.ratio("≥ 35 × stock", ours, contenders.STOCK.label, "per_s", 35, at_most=False)
    counts = ", ".join(f"{name}: {count}" for name, count in MESSAGES.items())
    result.notes.append(
        "2,000 messages a second are sent to all members. Each server gets enough messages to be busy for some seconds "
        f"({counts}). All of them are delivered and counted."
    )
    return result
