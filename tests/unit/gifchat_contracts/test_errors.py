import pytest

from gifchat_contracts import errors
from gifchat_contracts.errors import Action
from gifchat_contracts.languages import LANGUAGES, Language
from gifchat_contracts.texts import ERROR_TEXTS, en, ko


@pytest.mark.parametrize("row", errors.TABLE.values(), ids=lambda row: row.code)
def test_every_row_is_complete(row: errors.ErrorCode) -> None:
    assert errors.TABLE[row.code] is row
    assert 400 <= row.status < 600
    assert row.retry == (row.action in (Action.RETRY, Action.RECONNECT))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_a_sentence_for_every_code(language: Language) -> None:
    assert ERROR_TEXTS[language].keys() == errors.TABLE.keys()
    for row in errors.TABLE.values():
        assert row.text(language) == row.text(language).strip() != ""


def test_english_sentences_are_ascii_and_korean_sentences_are_formal() -> None:
    assert [text for text in en.TEXTS.values() if not text.isascii()] == []
    assert [text for text in ko.TEXTS.values() if not text.endswith(("니다.", "주세요."))] == []


def test_the_originals_sentences_are_kept() -> None:
    assert errors.ROOM_NOT_FOUND.text("ko") == "존재하지 않는 방입니다."
    assert errors.WRONG_PASSWORD.text("ko") == "비밀번호가 틀렸습니다."
    assert errors.ROOM_FULL.text("ko") == "허용 인원을 초과했습니다."


def test_a_client_sends_again_when_the_outcome_is_unknown() -> None:
    assert errors.OUTCOME_UNKNOWN.status == 503
    assert errors.OUTCOME_UNKNOWN.retry
