import pytest
from hypothesis import given
from hypothesis import strategies as st

from gifchat_realtime_gateway.domain.drain import WAVE_S, waves


@given(st.lists(st.text(max_size=3)), st.floats(0, 30))
def test_waves_contain_each_connection_once_and_end_in_time(connections: list[str], over_s: float) -> None:
    moved = waves(connections, over_s)
    assert [connection for wave in moved for connection in wave] == connections
    assert all(moved)
    assert len(moved) <= max(1, round(over_s / WAVE_S))


@given(st.integers(1, 5_000), st.floats(1, 30))
def test_no_wave_is_larger_than_an_equal_share(connections: int, over_s: float) -> None:
    count = min(connections, round(over_s / WAVE_S))
    assert max(map(len, waves(["c"] * connections, over_s))) - connections / count < 1


@pytest.mark.parametrize(("connections", "count"), [(0, 0), (1, 1), (7, 7), (300, 30)])
def test_few_connections_make_few_waves(connections: int, count: int) -> None:
    assert len(waves(["c"] * connections, 3.0)) == count


def test_without_time_there_is_one_wave() -> None:
    assert waves(["a", "b"], 0.0) == [["a", "b"]]
