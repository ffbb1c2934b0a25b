"""How much memory does each of 20,000 idle joined connections take?"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness import contenders, machine
from benchmarks.harness.fan_out import Log
from benchmarks.harness.load import load
from benchmarks.harness.rounds import Options, Result, interleaved
from benchmarks.harness.testbed import Contender, open_testbed

TITLE = "Resident memory per idle joined connection"
CONNECTIONS = 20_000
STOCK_CONNECTIONS = 5_000
"""Fewer connections, because its joins are slow and the figure is the same."""
MEMBERS = 1_000
WARM_UP = 200
"""Connections opened before the measurement, so that one-time costs do not count."""
SETTLE_S = 3.0


def run(options: Options, log: Log) -> Result:
    """Connect, wait, and read the resident memory."""
    connections = min(options.size(CONNECTIONS, 3_000), machine.raise_file_limit())
    result = Result("memory", TITLE, {"kb": "KB per connection", "connections": "connections"})

    def measure(contender: Contender, count: int) -> Mapping[str, float]:
        with TemporaryDirectory(prefix="gifchat-bench-") as name, open_testbed(Path(name)) as testbed:
            server = testbed.start(contender)
            with load(server, Path(name), [client // MEMBERS for client in range(count)]) as clients:
                clients.connect(WARM_UP)
                clients.idle(1.0)
                before = machine.resident_kb(server.pid)
                clients.connect(count - WARM_UP)
                clients.idle(SETTLE_S)
                kb = (machine.resident_kb(server.pid) - before) / (count - WARM_UP)
                return {"kb": kb, "connections": count}

    compared = {
        contenders.ENGINE: connections,
        contenders.OURS: connections,
        **dict.fromkeys(contenders.checkouts(options.checkouts), connections),
        contenders.NODE: connections,
        contenders.STOCK: min(connections, STOCK_CONNECTIONS),
        contenders.STOCK_DEFLATE: min(connections, STOCK_CONNECTIONS),
    }
    measures = {each.label: partial(measure, each, count) for each, count in compared.items()}
    result.rows = interleaved(measures, options.rounds, log)
    result.bar("≤ 6 KB", contenders.OURS.label, "kb", 6.0)
    result.ratio("≤ Node / 2", contenders.OURS.label, contenders.NODE.label, "kb", 1 / 2)
    if connections < CONNECTIONS and not options.quick:
        result.notes.append(f"{connections:,} connections: the open-file limit of this machine allows no more.")
    return result
