import pytest
from hypothesis import given
from hypothesis import strategies as st

from gifchat_rooms_api.http.byte_ranges import UnsatisfiableRangeError, byte_range, matches

SIZE = 1_000


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (None, None),
        ("bytes=0-", (0, 1_000)),
        ("bytes=0-0", (0, 1)),
        ("bytes=10-19", (10, 20)),
        ("bytes=999-", (999, 1_000)),
        ("bytes=990-5000", (990, 1_000)),
        ("bytes=-1", (999, 1_000)),
        ("bytes=-5000", (0, 1_000)),
        ("bytes= 10-19 ", (10, 20)),
        ("Bytes=10-19", (10, 20)),
        ("bytes=0-1,5-6", None),
        ("lines=0-1", None),
        ("10-19", None),
        ("", None),
    ],
)
def test_a_range_selects_a_part_of_the_file(header: str | None, part: tuple[int, int] | None) -> None:
    assert byte_range(header, SIZE) == part


@pytest.mark.parametrize(
    "header",
    ["bytes=1000-", "bytes=-0", "bytes=5-4", "bytes=-", "bytes=", "bytes=a-b", "bytes=0x1-2", "bytes=١-٢", "bytes=--1"],
)
def test_a_range_outside_the_file_is_unsatisfiable(header: str) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        byte_range(header, SIZE)


@given(st.text("bytes=-, 0123456789", max_size=20).map(lambda rest: f"bytes={rest}"), st.integers(1, 2_000))
def test_every_part_lies_within_the_file(header: str, size: int) -> None:
    try:
        part = byte_range(header, size)
    except UnsatisfiableRangeError:
        return
    if part is not None:
        assert 0 <= part[0] < part[1] <= size


@pytest.mark.parametrize(
    ("header", "known"),
    [
        (None, False),
        ('"abc"', True),
        ('W/"abc"', True),
        ('"xyz", "abc"', True),
        ("*", True),
        ('"xyz"', False),
        ("abc", False),
        ("", False),
    ],
)
def test_if_none_match_says_whether_the_client_has_the_file(header: str | None, known: bool) -> None:
    assert matches('"abc"', header) is known
