"""One stack of containers for all tests of this folder."""

from collections.abc import Iterator

import pytest

from gifchat_testkit.containers import ComposeStack, compose_stack, engine_problem


@pytest.fixture(scope="session")
def engine() -> None:
    """Skips where no Docker engine can be had, and says why."""
    if problem := engine_problem():
        pytest.skip(problem)


@pytest.fixture(scope="session")
def stack(engine: None) -> Iterator[ComposeStack]:
    """The product with three gateways behind nginx, as the README starts it."""
    with compose_stack(gateways=3) as running:
        yield running
