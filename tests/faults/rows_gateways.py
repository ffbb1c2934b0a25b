"""Gateways that end."""

import random

from gifchat_testkit.faults.checker import Limits
from gifchat_testkit.faults.cluster import FaultCluster, Shape
from gifchat_testkit.faults.load import Load
from gifchat_testkit.faults.rows import Figures, Row

EXIT_WITHIN_S = 20.0


async def killed(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """SIGKILL, and one of its readers never comes back: its seat is a ghost's."""
    # Who writes has not gone: the ghost is somebody who only reads.
    writing = {writer.person for writer in load.writers}
    ghost = rng.choice([reader for reader in load.readers if reader.person not in writing])
    victim = next(gateway for gateway in cluster.gateways if gateway.name == ghost.gateway)
    lost = load.readers_on(victim)
    await victim.process.kill()
    await ghost.vanish()
    return {"clients of the gateway": len(lost)}


async def terminated(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """SIGTERM: it moves its sockets away and exits with 0."""
    victim = rng.choice([gateway for gateway in cluster.gateways if load.readers_on(gateway)])
    lost = load.readers_on(victim)
    code = await victim.process.terminate(EXIT_WITHIN_S)
    assert code == 0, f"{victim.name} ended with {code}"
    return {"clients of the gateway": len(lost)}


ROWS = [
    Row(
        name="gateway killed",
        fault="SIGKILL to one of three gateways; one of its clients never returns",
        inject=killed,
        shape=Shape(gateways=3),
        limits=Limits(resume_p99_s=5.0),
    ),
    Row(
        name="gateway terminated",
        fault="SIGTERM to one of three gateways",
        inject=terminated,
        shape=Shape(gateways=3),
        limits=Limits(resume_p99_s=5.0),
    ),
]
