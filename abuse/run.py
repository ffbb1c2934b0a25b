"""Runs one attack on a running cluster, and measures normal users before it and during it."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from abuse.attack import Attack, Stage
from abuse.attacker import attacking
from abuse.gateways import GatewayWatch
from abuse.newcomers import Newcomers
from abuse.pairs import Pair, Sample, pairs
from gifchat_chassis.background_tasks import cancel_until_done
from gifchat_testkit.cluster import EmbeddedCluster
from gifchat_testkit.waiting import until

ATTACKER = "127.0.0.66"
PAIRS_PER_GATEWAY = 2
FLOOR_MS = 50.0
"""A p99 below this is never a breach, however low the p99 before the attack is."""
_WARM_UP_S = 3.0
_PHASE_TIMEOUT_S = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """The pairs' send→ack in one phase."""

    samples: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one attack did to the others."""

    quiet: Latency
    attacked: Latency
    seconds: float
    """How long the attack lasted."""
    attacker_cpu: float
    """The share of a core that the attacker used."""
    findings: Mapping[str, int]
    """What the attacker saw."""
    refused: Mapping[str, int]
    """Refusals of normal users."""
    disconnects: int
    missing: int
    """Acknowledged messages that a pair's reader did not receive."""
    unready: Mapping[str, int]
    """Gateways' health checks that failed, by status."""
    newcomers: int
    newcomers_slowest_s: float

    @property
    def bar_ms(self) -> float:
        """The highest p99 that is within the bar."""
        return max(2 * self.quiet.p99_ms, FLOOR_MS)

    @property
    def breaches(self) -> list[str]:
        """What is not within the bar; empty if all is well."""
        found = []
        if self.attacked.p99_ms > self.bar_ms:
            found.append(f"p99 {self.attacked.p99_ms:.0f} ms above {self.bar_ms:.0f} ms")
        found += [f"{code} {count}×" for code, count in sorted((*self.refused.items(), *self.unready.items()))]
        if self.disconnects:
            found.append(f"{self.disconnects} normal connections lost")
        if self.missing:
            found.append(f"{self.missing} messages not delivered")
        return found


async def run_attack(attack: Attack, cluster: EmbeddedCluster, samples: int) -> Run:
    """Run an attack while normal users chat; take `samples` or more in each of the two phases."""
    url = cluster.url.replace("localhost", "127.0.0.1")
    gateways = [process["port"] for process in cluster.processes().values() if process["kind"] == "gateway"]
    async with AsyncExitStack() as stack:
        normal = await stack.enter_async_context(pairs(url, len(gateways), PAIRS_PER_GATEWAY))
        stage = Stage(url=url, address=ATTACKER, room=normal[0].room)
        if attack.prepare is not None:
            stage = replace(stage, prepared=await attack.prepare(stage))
        newcomers, watch = Newcomers(url, normal[1].room), GatewayWatch(gateways)
        for coroutine in (newcomers.keep_coming(), watch.watch()):
            stack.push_async_callback(cancel_until_done, asyncio.create_task(coroutine))
        await asyncio.sleep(_WARM_UP_S)
        quiet = await _phase(normal, samples)
        async with attacking(attack, stage) as attacker:
            began_s = time.monotonic()
            attacked = await _phase(normal, samples)
            victims_refused = await attack.victims(stage) if attack.victims is not None else {}
            seconds = time.monotonic() - began_s
        missing = sum(await asyncio.gather(*(pair.settle() for pair in normal)))
        refused: Counter[str] = Counter()
        for group in (*(pair.refused for pair in normal), newcomers.refused, victims_refused):
            refused.update(group)
        return Run(
            quiet=_latency(quiet),
            attacked=_latency(attacked),
            seconds=seconds,
            attacker_cpu=attacker.cpu_s / seconds,
            findings=attacker.findings,
            refused=dict(refused),
            disconnects=sum(pair.disconnects for pair in normal),
            missing=missing,
            unready=dict(watch.unready),
            newcomers=newcomers.came,
            newcomers_slowest_s=newcomers.slowest_s,
        )


async def _phase(normal: Sequence[Pair], samples: int) -> list[Sample]:
    """Measure until there are enough samples. Return them when all messages that were due until then are acked."""
    from_s = time.monotonic()

    def taken() -> list[Sample]:
        return [sample for pair in normal for sample in pair.samples if sample.due_s >= from_s]

    await until(lambda: len(taken()) >= samples, _PHASE_TIMEOUT_S, f"{samples} samples", poll_interval_s=0.25)
    until_s = time.monotonic()
    # The messages that are still in flight are the slowest.
    await asyncio.gather(*(pair.acked() for pair in normal))
    return [sample for sample in taken() if sample.due_s <= until_s]


def _latency(samples: Sequence[Sample]) -> Latency:
    took_ms = sorted(sample.took_s * 1_000 for sample in samples)
    return Latency(
        samples=len(took_ms), p50_ms=took_ms[len(took_ms) // 2], p99_ms=took_ms[int((len(took_ms) - 1) * 0.99)]
    )
