"""Tests that write to real sockets run on uvloop, like the gateway. The others run in virtual time."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

WITH_SOCKETS = ("test_fan_out.py", "test_link.py")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]] | None:
    return {"uvloop": uvloop.new_event_loop} if item.path.name in WITH_SOCKETS else None
