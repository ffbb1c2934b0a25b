from collections.abc import Callable

import pytest

from gifchat_contracts import ids

HEX = "0123456789abcdef"


@pytest.mark.parametrize(
    ("check", "good"),
    [
        (ids.is_room_id, "65f0c0ffee0123456789abcd"),
        (ids.is_user_id, "65f0c0ffee0123456789abcd"),
        (ids.is_epoch, HEX),
        (ids.is_gif_id, HEX * 4),
    ],
)
def test_an_id_is_lower_case_hex_of_fixed_length(check: Callable[[object], bool], good: str) -> None:
    assert check(good)
    for bad in (good.upper(), good[:-1], good + "0", good + "\n", good[:-1] + "g", "", None, 5, good.encode(), [good]):
        assert not check(bad), bad


@pytest.mark.parametrize("good", ["a", "A-Z_09", "x" * 64, "0b8f6a4e-0000-4000-8000-000000000001"])
def test_valid_client_message_ids_are_accepted(good: str) -> None:
    assert ids.is_client_message_id(good)


@pytest.mark.parametrize("bad", ["", "x" * 65, "a b", "a:b", "가", "a\n", None, 1, {"$gt": ""}])
def test_invalid_client_message_ids_are_refused(bad: object) -> None:
    assert not ids.is_client_message_id(bad)


def test_new_epochs_are_valid_and_differ() -> None:
    epochs = {ids.new_epoch() for _ in range(100)}
    assert len(epochs) == 100
    assert all(ids.is_epoch(epoch) for epoch in epochs)


def test_node_ids_are_new_at_each_start_and_safe_in_keys() -> None:
    first, second = ids.new_node_id("gate|way:1 " + "x" * 100), ids.new_node_id("gateway-1")
    assert first != second
    assert not {"|", ":", " "} & set(first)
    assert second.startswith("gateway-1.")
    assert ids.new_node_id("gateway-1") != second
