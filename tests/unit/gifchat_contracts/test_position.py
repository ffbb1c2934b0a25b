import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gifchat_contracts.ids import Epoch
from gifchat_contracts.position import MAX_SEQ, Position

EPOCH = Epoch("0123456789abcdef")


@given(st.integers(0, MAX_SEQ))
def test_a_position_read_from_its_json_is_unchanged(seq: int) -> None:
    position = Position(EPOCH, seq)
    assert Position.from_json(json.loads(json.dumps(position.as_json()))) == position


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "0123456789abcdef:1",
        {},
        {"epoch": EPOCH},
        {"seq": 1},
        {"epoch": "0123", "seq": 1},
        {"epoch": EPOCH.upper(), "seq": 1},
        {"epoch": EPOCH + "\n", "seq": 1},
        {"epoch": EPOCH, "seq": -1},
        {"epoch": EPOCH, "seq": MAX_SEQ + 1},
        {"epoch": EPOCH, "seq": True},
        {"epoch": EPOCH, "seq": 1.0},
        {"epoch": EPOCH, "seq": "1"},
        {"epoch": 1, "seq": 1},
    ],
)
def test_other_shapes_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="a position is"):
        Position.from_json(value)
