"""These tests use a virtual clock that skips sleeps, so they never really wait."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from gifchat_testkit.gateway_nodes import FakeCluster
from gifchat_testkit.virtual_time import VirtualTimeLoop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"turned": VirtualTimeLoop}


@pytest.fixture
async def cluster() -> FakeCluster:
    return FakeCluster()
