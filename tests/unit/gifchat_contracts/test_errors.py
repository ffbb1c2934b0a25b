import pytest

from gifchat_contracts import errors
from gifchat_contracts.errors import Action, language_of


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("ko", "ko"),
        ("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", "ko"),
        ("en-US,en;q=0.9,ko;q=0.8", "en"),
        ("en;q=0.2, ko;q=0.3", "ko"),
        ("fr, ko;q=0.1", "ko"),
        ("fr,de", "en"),
        ("ko;q=0", "en"),
        ("KO-kr", "ko"),
        ("korean", "en"),
        ("ko;q=abc", "en"),
        (";;,,q=1,", "en"),
        ("*", "en"),
    ],
)
def test_the_language_is_the_better_of_the_two(header: str | None, language: str) -> None:
    assert language_of(header) == language


@pytest.mark.parametrize("row", errors.TABLE.values(), ids=lambda row: row.code)
def test_every_row_is_complete(row: errors.ErrorCode) -> None:
    assert errors.TABLE[row.code] is row
    assert 400 <= row.status < 600
    assert row.retry == (row.action in (Action.RETRY, Action.RECONNECT))
    assert row.text("ko") == row.ko
    assert row.text("en") == row.en
    assert row.ko
    assert row.en.isascii()


def test_the_originals_sentences_are_kept() -> None:
    assert errors.ROOM_NOT_FOUND.ko == "존재하지 않는 방입니다."
    assert errors.WRONG_PASSWORD.ko == "비밀번호가 틀렸습니다."
    assert errors.ROOM_FULL.ko == "허용 인원을 초과했습니다."


def test_what_the_server_may_yet_have_stored_is_to_be_sent_again() -> None:
    assert errors.OUTCOME_UNKNOWN.status == 503
    assert errors.OUTCOME_UNKNOWN.retry
