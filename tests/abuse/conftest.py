"""Runs attacks for a short time in this process, without a CPU limit: our bounds must hold all the same."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import pytest
from abuse.attack import Attack, Stage

from gifchat_chassis.background_tasks import cancel_until_done
from gifchat_testkit.clients import visitor
from gifchat_testkit.cluster import EmbeddedCluster
from gifchat_testkit.waiting import until

TIMEOUT_S = 90.0
_addresses = (f"127.0.9.{number}" for number in itertools.count(1))


@dataclass(frozen=True, slots=True)
class Attacked:
    """An attack that has ended."""

    stage: Stage
    seconds: float

    def found(self, part: str) -> int:
        """Return how often the attacker saw findings with `part` in their name."""
        return sum(count for name, count in self.stage.findings.items() if part in name)


AttackUntil = Callable[[Attack, str, int], Awaitable[Attacked]]


@pytest.fixture
async def attack_until(cluster: EmbeddedCluster) -> AsyncIterator[AttackUntil]:
    """A function that attacks the shared cluster until the attacker has seen a finding a given number of times."""
    url = cluster.url.replace("localhost", "127.0.0.1")
    async with AsyncExitStack() as stack:

        async def attack_until(attack: Attack, part: str, times: int) -> Attacked:
            http = await stack.enter_async_context(visitor(url, address=next(_addresses)))
            answer = await http.post("/api/v1/rooms", json={"title": "Attacked", "max": 1_000})
            stage = Stage(url=url, address=next(_addresses), room=answer.json()["_id"])
            if attack.prepare is not None:
                stage = replace(stage, prepared=await attack.prepare(stage))
            began_s = time.monotonic()
            attacking = asyncio.ensure_future(attack.run(stage))
            attacked = Attacked(stage, 0.0)
            try:
                await until(lambda: attacked.found(part) >= times or attacking.done(), TIMEOUT_S, part)
            except AssertionError as error:
                raise AssertionError(f"{error}; the attacker saw {dict(stage.findings)}") from None
            finally:
                ended = attacking.done()
                await cancel_until_done(attacking)
            if ended:
                attacking.result()
            return replace(attacked, seconds=time.monotonic() - began_s)

        yield attack_until
