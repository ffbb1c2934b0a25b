"""Measures rooms of one size on several servers: all connect and warm up, then run in interleaved rounds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness.load import Load, load
from benchmarks.harness.rounds import Figure, Options, interleaved
from benchmarks.harness.testbed import Contender, open_testbed

Log = Callable[[str], None]

SETTLE_S = 2.5
"""Pause after the last join, so that its announcements are over."""


@contextmanager
def connected_loads(
    contenders: Sequence[Contender], *, rooms: int, members: int, log: Log, warm: bool = True
) -> Iterator[list[Load]]:
    """Start all servers, with `members` clients in each of `rooms` rooms per server."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="gifchat-bench-")))
        servers = stack.enter_context(open_testbed(folder))
        loads = []
        for contender in contenders:
            server = servers.start(contender)
            of_clients = [room for room in range(rooms) for _ in range(members)]
            clients = stack.enter_context(load(server, folder, of_clients, rooms=range(rooms)))
            arrival = clients.connect(len(of_clients))
            log(f"  {contender.label}: {arrival.clients} clients in {arrival.seconds:.1f} s")
            loads.append(clients)
        for clients in loads:
            clients.idle(SETTLE_S)
            if warm:
                clients.warm_up(members)
        yield loads


def messages_for(clients: Load, members: int, seconds: float) -> int:
    """Return how many messages keep the server busy for about `seconds`."""
    return max(3, round(seconds * 1e6 / (clients.server.contender.us * members)))


def cost_of_deliveries(
    contenders: Sequence[Contender], *, members: int, options: Options, log: Log
) -> dict[str, dict[str, Figure]]:
    """Measure one room without a backlog: publish each message only when all members have the previous one."""

    def measure(clients: Load) -> Mapping[str, float]:
        run = clients.run("closed", messages_for(clients, members, 0.3 if options.quick else 1.5))
        return {"us": run.us_per_delivery, "last_p50_ms": run.last_p50_us / 1000, "load": run.load_share}

    with connected_loads(contenders, rooms=1, members=members, log=log) as loads:
        measures = {clients.server.contender.label: partial(measure, clients) for clients in loads}
        return interleaved(measures, options.rounds, log)
