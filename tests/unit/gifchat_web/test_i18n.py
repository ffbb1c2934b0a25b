import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import gifchat_web
from gifchat_contracts.languages import LANGUAGES, Language
from gifchat_contracts.texts import ERROR_TEXTS
from gifchat_web.domain.fill_in import Text, fill_in
from gifchat_web.i18n import catalogue

PACKAGE = Path(gifchat_web.__file__).parent
FIELD = re.compile(r"\{([^{}]+)\}")
PAIRS = {"을/를", "이/가", "은/는", "과/와", "으로/로"}


def forms(text: Text) -> list[str]:
    return [text] if isinstance(text, str) else list(text.values())


def fields(text: Text) -> set[str]:
    return {name for form in forms(text) for name in FIELD.findall(form) if "/" not in name}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_same_keys_and_fills_in_the_same_values(language: Language) -> None:
    english, texts = catalogue("en"), catalogue(language)
    assert texts.keys() == english.keys()
    for key, text in texts.items():
        assert fields(text) == fields(english[key]), key
        assert all(form.strip() for form in forms(text)), key
        if not isinstance(text, str):
            assert "count" in fields(text), key


def test_the_particles_are_known_pairs() -> None:
    used = {
        name
        for language in LANGUAGES
        for text in catalogue(language).values()
        for form in forms(text)
        for name in FIELD.findall(form)
        if "/" in name
    }
    assert used <= PAIRS


def test_korean_sentences_are_formal() -> None:
    sentences = (
        sentence
        for text in catalogue("ko").values()
        for form in forms(text)
        for sentence in re.findall(r"[^.!?]+[.!?]", form)
    )
    formal = re.compile(r"(?:니다|니까|보세요)[.!?]$")
    assert [sentence for sentence in sentences if not formal.search(sentence)] == []


def test_every_text_is_used_and_every_used_text_exists() -> None:
    used = set(_used_keys())
    # The scripts build these keys: `${key}_permanently`.
    used |= {"you_were_banned_permanently", "you_are_muted_permanently"}
    # The language links use this text.
    used.add("language_name")
    assert catalogue("en").keys() <= used
    called = re.findall(r'\b(?:t|text)\(\s*[\'"](\w+)[\'"]', _sources())
    assert set(called) <= catalogue("en").keys()


def test_system_messages_are_the_originals() -> None:
    assert fill_in(catalogue("ko")["joined"], {"user": "#86362d"}) == "#86362d님이 입장하셨습니다."
    assert fill_in(catalogue("ko")["left"], {"user": "#86362d"}) == "#86362d님이 퇴장하셨습니다."


@pytest.mark.parametrize("language", LANGUAGES)
async def test_scripts_get_their_texts_from_a_file_that_browsers_keep(alice: httpx.AsyncClient, language: str) -> None:
    page = (await alice.get("/", params={"lang": language})).text
    [url] = re.findall(r'"texts_url":"([^"]+)"', page)
    assert f'<link rel="preload" as="fetch" crossorigin href="{url}">' in page
    answer = await alice.get(url)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.json() == {"texts": dict(catalogue(language)), "errors": dict(ERROR_TEXTS[language])}  # type: ignore[index]


def _sources() -> str:
    paths = (path for folder in ("templates", "static/js") for path in (PACKAGE / folder).rglob("*.*"))
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def _used_keys() -> Iterator[str]:
    yield from re.findall(r"\w+", _sources())
