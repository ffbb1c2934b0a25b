"""Browser windows for the tests of this folder."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from gifchat_testkit.browser import Windows, chromium, opened_windows
from gifchat_testkit.cluster import EmbeddedCluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """One Chromium for all tests of a module."""
    async with chromium(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def windows(browser: Browser, cluster: EmbeddedCluster) -> AsyncIterator[Windows]:
    """Opens windows. A test fails if the console of a window shows an unexpected error."""
    async with opened_windows(browser, cluster) as opened:
        yield opened
