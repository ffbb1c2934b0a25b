"""`gifchat_realtime_gateway.ports.Nodes`: one suite for the fake and for Redis."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Protocol

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gifchat_contracts import keys
from gifchat_realtime_gateway.adapters.redis_nodes import LOOK_EVERY_S, RedisNodes
from gifchat_realtime_gateway.ports import Nodes
from gifchat_testkit.fakes.nodes import FakeNodes, NodeStore

LEASE_S, REMEMBERED_S = 1_000.0, 500.0
ONE, TWO = "tag-one-", "tag-two-"


class World(Protocol):
    """A cluster whose nodes start, stop and disappear."""

    def node(self, tag: str) -> Nodes: ...

    async def started(self, tag: str, address: str) -> None: ...

    async def stopped(self, tag: str) -> None:
        """Make the node release its lease."""
        ...

    async def lease_ran_out(self, tag: str, since_s: float) -> None: ...

    async def go_down(self) -> None: ...


class FakeWorld:
    def __init__(self) -> None:
        self.store = NodeStore()

    def node(self, tag: str) -> Nodes:
        return FakeNodes(self.store)

    async def started(self, tag: str, address: str) -> None:
        self.store.live[tag] = address

    async def stopped(self, tag: str) -> None:
        self.store.live.pop(tag)

    async def lease_ran_out(self, tag: str, since_s: float) -> None:
        self.store.live.pop(tag)
        if since_s < REMEMBERED_S:
            self.store.remembered.add(tag)

    async def go_down(self) -> None:
        self.store.down = True


class RedisWorld:
    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.now_s = 1_000.0
        self.nodes: dict[str, RedisNodes] = {}

    def node(self, tag: str, address: str = "") -> RedisNodes:
        if tag not in self.nodes:
            self.nodes[tag] = RedisNodes(
                self.redis, tag, address, lease_s=LEASE_S, remembered_s=REMEMBERED_S, clock=self._clock
            )
        return self.nodes[tag]

    def _clock(self) -> float:
        self.now_s += LOOK_EVERY_S
        return self.now_s

    async def started(self, tag: str, address: str) -> None:
        await self.node(tag, address).renew()

    async def stopped(self, tag: str) -> None:
        await self.nodes[tag].release()
        self.now_s += LEASE_S

    async def lease_ran_out(self, tag: str, since_s: float) -> None:
        await self.redis.zincrby(keys.NODE_LEASES, -(LEASE_S + since_s) * 1000, tag)
        self.now_s += LEASE_S + since_s

    async def go_down(self) -> None:
        self.redis.connection_pool.connection_kwargs["port"] = 1
        await self.redis.connection_pool.disconnect()


@pytest.fixture(params=["fake", pytest.param("valkey", marks=pytest.mark.servers)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "fake":
        yield FakeWorld()
        return
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(
            Redis.from_url(request.getfixturevalue("valkey"), socket_timeout=1.0, retry=Retry(NoBackoff(), 0))
        )
        yield RedisWorld(redis)


async def test_the_others_find_a_started_node(world: World) -> None:
    here = world.node(ONE)
    await world.started(TWO, "10.0.0.2:8002")
    assert await here.address_of(TWO) == "10.0.0.2:8002"
    assert await here.remembers(TWO)


async def test_a_node_that_never_started_is_not_found(world: World) -> None:
    assert await world.node(ONE).address_of("tag-none") is None
    assert not await world.node(ONE).remembers("tag-none")


async def test_a_stopped_node_is_not_found(world: World) -> None:
    await world.started(TWO, "10.0.0.2:8002")
    assert await world.node(ONE).address_of(TWO) is not None
    await world.stopped(TWO)
    assert await world.node(ONE).address_of(TWO) is None


async def test_a_node_is_remembered_after_its_lease_expired(world: World) -> None:
    await world.started(TWO, "10.0.0.2:8002")
    assert await world.node(ONE).address_of(TWO) is not None
    await world.lease_ran_out(TWO, since_s=REMEMBERED_S / 2)
    assert await world.node(ONE).address_of(TWO) is None
    assert await world.node(ONE).remembers(TWO)


async def test_a_remembered_node_is_eventually_forgotten(world: World) -> None:
    await world.started(TWO, "10.0.0.2:8002")
    await world.lease_ran_out(TWO, since_s=REMEMBERED_S * 2)
    assert await world.node(ONE).address_of(TWO) is None
    assert not await world.node(ONE).remembers(TWO)


async def test_known_addresses_stay_available_while_redis_is_down(world: World) -> None:
    here = world.node(ONE)
    await world.started(TWO, "10.0.0.2:8002")
    assert await here.address_of(TWO) == "10.0.0.2:8002"
    await world.go_down()
    assert await here.address_of("tag-none") is None
    assert await here.address_of(TWO) == "10.0.0.2:8002"
