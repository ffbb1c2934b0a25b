from collections.abc import Callable

import pytest

from gifchat_cli.ports import choose_port


def offers(*ports: int) -> Callable[[], int]:
    remaining = iter(ports)
    return lambda: next(remaining)


def test_the_port_of_the_last_run_is_kept() -> None:
    assert choose_port(5000, [], is_free=lambda _port: True, free_port=offers()) == 5000


@pytest.mark.parametrize(("taken", "free"), [([5000], True), ([], False)])
def test_a_free_port_replaces_one_that_is_taken(taken: list[int], free: bool) -> None:
    assert choose_port(5000, taken, is_free=lambda _port: free, free_port=offers(6000)) == 6000


def test_an_assigned_port_is_not_assigned_again() -> None:
    assert choose_port(None, [6000, 6001], is_free=lambda _port: True, free_port=offers(6000, 6001, 6002)) == 6002
