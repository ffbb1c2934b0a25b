"""A gateway whose packets are dropped, in a network namespace."""

import asyncio
import random

from faults.clients.checks import reconnected_elsewhere
from faults.clients.load import Load
from faults.judge.checker import Limits
from faults.judge.records import now
from faults.row import Figures, Row
from faults.system.cluster import FaultCluster, Shape
from faults.system.network import lose_nothing, lose_packets
from gifchat_contracts import limits

BACK_WITHIN_S = 15.0


async def partitioned(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """Drop all packets between one gateway and nginx or Redis for longer than its lease."""
    victim = max(cluster.gateways, key=lambda gateway: len(load.readers_on(gateway)))
    lost = load.readers_on(victim)
    began = now()
    lose_packets(victim.port, victim.redis.port)
    try:
        await reconnected_elsewhere(lost, victim, BACK_WITHIN_S)
        back_s = now() - began
        lasts_s = limits.LEASE_TTL_S + rng.uniform(0.5, 1.0 if load.short else 4.0)
        await asyncio.sleep(max(0.0, began + lasts_s - now()))
    finally:
        lose_nothing()
    load.fault_over()
    await victim.process.wait_until_ready()
    return {"clients on the gateway": len(lost), "clients reconnected elsewhere, s": back_s}


ROWS: list[Row] = [
    Row(
        name="gateway partitioned",
        fault="all packets between one of three gateways and nginx or Redis are lost for longer than a lease",
        inject=partitioned,
        shape=Shape(gateways=3, gateway_env={"PING_INTERVAL": "1", "PING_TIMEOUT": "2"}),
        # nginx waits 2 s to connect to the cookie's gateway. On an open connection it waits as long as the client does.
        limits=Limits(resume_p99_s=10.0),
        own_network=True,
    ),
]
