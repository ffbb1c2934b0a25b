"""What does a join cost, and what does it cost per client to lose 5,000 clients at once?"""

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness import contenders, machine
from benchmarks.harness.fan_out import Log
from benchmarks.harness.load import Load, load
from benchmarks.harness.rounds import Options, Result, interleaved
from benchmarks.harness.testbed import Contender, Testbed, open_testbed

TITLE = "Joins per second; mass disconnects"
CLIENTS = 5_000
WARM_UP = 1_500
MEMBERS = 1_000


def run(options: Options, log: Log) -> Result:
    """Connect and join, then drop all connections and wait until the server is idle."""
    columns = {
        "per_s": "joins per second",
        "connect_us": "µs of server CPU per join",
        "p99_ms": "p99 of a join, ms",
        "disconnect_us": "µs of server CPU per disconnect",
    }
    result = Result("joins-and-disconnects", TITLE, columns)
    count = options.size(CLIENTS, 1_000)
    warm_up = options.size(WARM_UP, 500)

    def measure(contender: Contender, testbed: Testbed) -> Mapping[str, float]:
        # Each round has a new, warmed-up server, so that no leftovers of the last round are measured.
        of_clients = [client // MEMBERS for client in range(warm_up + count)]
        with testbed.running(contender) as server, load(server, testbed.folder, of_clients) as clients:
            clients.connect(warm_up)
            _dropped(clients, warm_up)
            arrival = clients.connect(count)
            clients.idle(1.5)
            return {
                "per_s": count / arrival.seconds,
                "connect_us": arrival.server_cpu_s * 1e6 / count,
                "p99_ms": arrival.p99_us / 1000,
                "disconnect_us": _dropped(clients, count) * 1e6 / count,
            }

    gateways = [contenders.ENGINE, contenders.OURS, *contenders.checkouts(options.checkouts)]
    compared = [*gateways, contenders.NODE, contenders.STOCK]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="gifchat-bench-")))
        testbed = stack.enter_context(open_testbed(folder))
        measures = {each.label: partial(measure, each, testbed) for each in compared}
        result.rows = interleaved(measures, options.rounds, log)
    engine, ours, node = contenders.ENGINE.label, contenders.OURS.label, contenders.NODE.label
    result.ratio("engine alone ≥ 1.1 × Node's joins (warm)", engine, node, "per_s", 1.1, at_most=False)
    result.ratio("with session check and admission ≥ 0.8 × Node's bare join", ours, node, "per_s", 0.8, at_most=False)
    result.bar("engine alone ≤ 60 µs per disconnect", engine, "disconnect_us", 60)
    result.notes.append(
        f"{CLIENTS:,} clients connect and join rooms of {MEMBERS:,}, with at most 64 handshakes at a time, after a "
        f"warm-up of {WARM_UP:,} clients. GIF Chat's gateway does all the work of the product. It checks the "
        "session, asks Valkey for a seat, announces the join and writes a log line. A disconnect returns the seat."
    )
    return result


def _dropped(clients: Load, count: int) -> float:
    """Drop clients, and return the CPU time that the server spent on this."""
    pid = clients.server.pid
    before = machine.wait_until_quiet(pid)
    clients.drop(count)
    return machine.wait_until_quiet(pid) - before
