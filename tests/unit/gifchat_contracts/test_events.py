"""The JSON of an event."""

import math

import pytest

from gifchat_contracts.events import body, payload_in


def test_a_body_is_compact_and_its_characters_are_unescaped() -> None:
    assert body("chat", {"chat": "안녕", "seq": 1}) == '["chat",{"chat":"안녕","seq":1}]'.encode()


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_a_number_that_is_not_finite_raises(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        body("chat", {"deep": [number]})


def test_the_payload_of_a_body_is_found_without_parsing() -> None:
    assert payload_in(body("chat", {"chat": 'a,"b"]'})) == b'{"chat":"a,\\"b\\"]"}'
