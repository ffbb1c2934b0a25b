"""One stack of containers, shared by all tests of this folder."""

from collections.abc import Iterator

import pytest

from gifchat_testkit.containers import ComposeStack, compose_stack, engine_problem


@pytest.fixture(scope="session")
def engine() -> None:
    """Skip the tests and say why if there is no Docker engine."""
    if problem := engine_problem():
        pytest.skip(problem)


@pytest.fixture(scope="session")
def stack(engine: None) -> Iterator[ComposeStack]:
    """GIF Chat with three gateways behind nginx, started as in the README."""
    with compose_stack(gateways=3) as running:
        yield running
