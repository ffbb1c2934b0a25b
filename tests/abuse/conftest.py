"""Runs attacks for a short time in this process, with all the CPU time they get: their bounds must hold anyway."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from abuse.attack import Attack, Stage

from gifchat_chassis.background_tasks import cancel_until_done
from gifchat_testkit.clients import visitor
from gifchat_testkit.cluster import EmbeddedCluster
from gifchat_testkit.waiting import until

_addresses = (f"127.0.9.{number}" for number in itertools.count(1))

Until = Callable[[Stage], object]
AttackFor = Callable[[Attack, Until], Awaitable[Stage]]


@pytest.fixture
async def attack_until(cluster: EmbeddedCluster) -> AsyncIterator[AttackFor]:
    """A function that attacks the shared cluster until a condition on the attacker's findings holds."""
    url = cluster.url.replace("localhost", "127.0.0.1")
    async with AsyncExitStack() as stack:

        async def attack_until(attack: Attack, condition: Until) -> Stage:
            http = await stack.enter_async_context(visitor(url, address=next(_addresses)))
            answer = await http.post("/api/v1/rooms", json={"title": "Attacked", "max": 1_000})
            stage = Stage(url=url, address=next(_addresses), room=answer.json()["_id"])
            if attack.prepare is not None:
                stage = replace(stage, prepared=await attack.prepare(stage))
            attacking = asyncio.ensure_future(attack.run(stage))
            try:
                await until(lambda: condition(stage) or attacking.done(), 60.0, f"more than {dict(stage.findings)}")
                assert not attacking.done(), f"the attack ended by itself: {attacking}"
            finally:
                await cancel_until_done(attacking)
            return stage

        yield attack_until
