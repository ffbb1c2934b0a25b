from datetime import UTC, datetime, timedelta

import pytest

from gifchat_rooms_api.domain.message import deletion_key, notice_key, slow_mode_wait_s

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(("ago_s", "wait_s"), [(0, 10), (4, 6), (10, 0), (11, 0)])
def test_slow_mode_counts_from_the_last_message(ago_s: float, wait_s: float) -> None:
    assert slow_mode_wait_s(10, NOW - timedelta(seconds=ago_s), NOW) == wait_s
    assert slow_mode_wait_s(10, None, NOW) == 0


def test_keys_of_deletions_and_notices_cannot_come_from_clients() -> None:
    assert deletion_key(12) == "deletion:12"
    assert ":" in notice_key("ab" * 12)
