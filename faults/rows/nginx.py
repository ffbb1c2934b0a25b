"""nginx reloads its configuration ten times under load."""

import asyncio
import random

from faults.clients.load import Load
from faults.clients.reader import Reader
from faults.judge.records import now
from faults.row import Figures, Row
from faults.system.cluster import FaultCluster, Shape
from gifchat_testkit.waiting import until

RELOADS = 10
WORKERS = 2
GONE_WITHIN_S = 10.0


async def reloaded(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """Old workers keep their sockets, and exit when the sockets close."""
    before = cluster.nginx_workers()
    refreshed = await reload(cluster, load, rng)
    most = len(cluster.nginx_workers())
    assert before & cluster.nginx_workers(), "no old worker kept a socket"
    assert all(reader.joined.is_set() for reader in load.readers if reader not in refreshed), "a reader lost the room"
    for reader in load.readers:
        reader.refresh()
    seconds = await old_workers_gone(cluster)
    return {"workers": most, "old workers exited, s": seconds}


async def reloaded_with_short_timeout(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """Old workers have one second, and then cut their remaining sockets."""
    await reload(cluster, load, rng)
    most = len(cluster.nginx_workers())
    return {"workers": most, "old workers exited, s": await old_workers_gone(cluster)}


async def reload(cluster: FaultCluster, load: Load, rng: random.Random) -> list[Reader]:
    """Reload ten times at random moments; return the readers that refreshed meanwhile, to use several old workers."""
    refreshed: list[Reader] = []
    kept = load.readers[0]
    for _ in range(RELOADS):
        await cluster.reload_nginx()
        reader = rng.choice(load.readers)
        if reader is not kept:
            reader.refresh()
            refreshed.append(reader)
        await asyncio.sleep(rng.uniform(0.0, 0.1 if load.short else 0.5))
    load.fault_over()
    return refreshed


async def old_workers_gone(cluster: FaultCluster) -> float:
    """Wait until only the newest workers are left; return how long that took."""
    began = now()
    await until(lambda: len(cluster.nginx_workers()) <= WORKERS, GONE_WITHIN_S, "old workers to be gone")
    return now() - began


ROWS: list[Row] = [
    Row(
        name="nginx reloaded",
        fault="ten reloads; old workers exit when their sockets close",
        inject=reloaded,
    ),
    Row(
        name="nginx reloaded, old workers cut off",
        fault="ten reloads; old workers cut the remaining connections after one second",
        inject=reloaded_with_short_timeout,
        shape=Shape(worker_shutdown_timeout="1s"),
    ),
]
