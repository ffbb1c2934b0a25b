from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gifchat_contracts import limits
from gifchat_rooms_api.domain.message import BadTextError, Text, deletion_key, notice_key, slow_mode_wait_s, valid_text

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("hi", "hi"),
        (" 안녕 ", " 안녕 "),
        ("a\r\nb\tc", "a\nb\tc"),
        ("👩‍👩‍👧", "👩‍👩‍👧"),
        ("<script>", "<script>"),
        ("x" * limits.TEXT_MAX_CHARS, "x" * limits.TEXT_MAX_CHARS),
        ("🎉" * limits.TEXT_MAX_CHARS, "🎉" * limits.TEXT_MAX_CHARS),
    ],
)
def test_valid_texts_are_accepted(raw: str, text: str) -> None:
    assert valid_text(raw) == Text(text)


@pytest.mark.parametrize(
    "raw",
    ["", " ", "\n\t\r\n", "\u3000", "x" * (limits.TEXT_MAX_CHARS + 1), "a\x00", "\x1b[31m", "a\rb", "a\x85b", "\ud800"],
)
def test_invalid_texts_are_refused(raw: str) -> None:
    with pytest.raises(BadTextError):
        valid_text(raw)


@given(st.text(alphabet=st.characters(), max_size=50))
def test_every_accepted_text_can_be_stored_and_sent(raw: str) -> None:
    try:
        text = valid_text(raw)
    except BadTextError:
        return
    assert text.text.encode().decode() == text.text
    assert valid_text(text.text) == text


@pytest.mark.parametrize(("ago_s", "wait_s"), [(0, 10), (4, 6), (10, 0), (11, 0)])
def test_slow_mode_counts_from_the_last_message(ago_s: float, wait_s: float) -> None:
    assert slow_mode_wait_s(10, NOW - timedelta(seconds=ago_s), NOW) == wait_s
    assert slow_mode_wait_s(10, None, NOW) == 0


def test_keys_of_deletions_and_notices_cannot_come_from_clients() -> None:
    assert deletion_key(12) == "deletion:12"
    assert ":" in notice_key("ab" * 12)
