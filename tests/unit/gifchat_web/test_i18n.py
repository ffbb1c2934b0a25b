import re
from pathlib import Path

import gifchat_web
from gifchat_contracts.errors import TABLE
from gifchat_web.i18n import catalogue, error_texts

PACKAGE = Path(gifchat_web.__file__).parent
PLACEHOLDER = re.compile(r"\{(\w+)\}")


def test_both_languages_have_the_same_keys_and_fill_in_the_same_names() -> None:
    korean, english = catalogue("ko"), catalogue("en")
    assert korean.keys() == english.keys()
    for key, text in korean.items():
        assert set(PLACEHOLDER.findall(text)) == set(PLACEHOLDER.findall(english[key])), key
        assert text.strip()
        assert english[key].strip()


def test_every_text_is_used_and_every_used_text_is_there() -> None:
    sources = [path.read_text() for folder in ("templates", "static/js") for path in (PACKAGE / folder).rglob("*.*")]
    words = set(re.findall(r"\w+", "\n".join(sources)))
    # Put together from parts: `${key}_for_ever`.
    words |= {"you_were_banned_for_ever", "you_are_muted_for_ever"}
    assert catalogue("ko").keys() <= words
    used = re.findall(r'\b(?:t|text)\(\s*[\'"](\w+)[\'"]', "\n".join(sources))
    assert set(used) <= catalogue("ko").keys()


def test_system_messages_are_the_originals() -> None:
    assert catalogue("ko")["joined"].format(user="#86362d") == "#86362d님이 입장하셨습니다."
    assert catalogue("ko")["left"].format(user="#86362d") == "#86362d님이 퇴장하셨습니다."


def test_every_error_has_its_sentence() -> None:
    assert error_texts("ko").keys() == error_texts("en").keys() == TABLE.keys()
