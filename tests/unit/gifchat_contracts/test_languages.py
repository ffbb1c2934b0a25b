import pytest

from gifchat_contracts.languages import language_of


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("ko", "ko"),
        ("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", "ko"),
        ("en-US,en;q=0.9,ko;q=0.8", "en"),
        ("en;q=0.2, ko;q=0.3", "ko"),
        ("xx, ko;q=0.1", "ko"),
        ("xx,yy", "en"),
        ("ko;q=0", "en"),
        ("KO-kr", "ko"),
        ("korean", "en"),
        ("ko;q=abc", "en"),
        (";;,,q=1,", "en"),
        ("*", "en"),
    ],
)
def test_the_most_preferred_supported_language_is_chosen(header: str | None, language: str) -> None:
    assert language_of(header) == language
