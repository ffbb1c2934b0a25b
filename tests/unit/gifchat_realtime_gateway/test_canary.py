"""A node detects with its canary that it no longer receives anything."""

import asyncio

from gifchat_realtime_gateway.use_cases.canary import DEAF_AFTER_S, PERIOD_S
from gifchat_testkit.gateway_nodes import FakeCluster

FOUND_S = DEAF_AFTER_S + 2 * PERIOD_S


async def test_a_canary_that_does_not_come_back_is_missed(cluster: FakeCluster) -> None:
    async with cluster.node("n1") as node:
        await asyncio.sleep(30)
        assert (node.deaf, node.canary.deaf) == (0, False)
        node.feed.lose_connection()
        await asyncio.sleep(FOUND_S)
        assert (node.deaf, node.canary.deaf) == (1, True)
        node.feed.reconnect()
        await asyncio.sleep(1.5)
        assert not node.canary.deaf
        await asyncio.sleep(30)
        assert node.deaf == 1


async def test_a_canary_that_cannot_be_published_is_not_missed(cluster: FakeCluster) -> None:
    async with cluster.node("n1") as node:
        cluster.set_down({"channels"})
        await asyncio.sleep(30)
        assert (node.deaf, node.canary.deaf) == (0, False)
