"""The policy for texts. The tests of the pages' scripts run the same examples, and the same file of Unicode."""

import itertools
import json
import shutil
import subprocess
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from gifchat_contracts import limits
from gifchat_contracts.errors import TABLE, Refused
from gifchat_contracts.languages import LANGUAGES
from gifchat_rooms_api.domain import text as policy
from gifchat_rooms_api.domain.text import fold_title, message_text, title_text

HERE = Path(__file__).parent
EXAMPLES: dict[str, Any] = json.loads((HERE / "texts.json").read_text(encoding="utf-8"))
# Characters that the rules treat specially, and some that they do not.
ODD = (
    "a가😀🇰🇷\n\r\v\t\x00\x85\u2028\u202e\u2069\u200d\u200b\u200f\u3164"
    "\u0301\u0323\u0344\u0915\u094d\u1112\u1161\u11ab\ufe0f\U000e0061"
)
any_text = st.text(st.one_of(st.sampled_from(ODD), st.characters()), max_size=60)


def whole(value: Any) -> str:
    """Return the text of an example: a string, or a list of strings and `[string, times]`."""
    return "".join(each if isinstance(each, str) else each[0] * each[1] for each in value)


@pytest.mark.parametrize(
    ("rule", "example"),
    [
        pytest.param(rule, example, id=f"{kind}: {example['why']}")
        for kind, rule in (("messages", message_text), ("titles", title_text))
        for example in EXAMPLES[kind]
    ],
)
def test_the_examples(rule: Callable[[str], str], example: dict[str, Any]) -> None:
    raw = whole(example["raw"])
    if "code" in example:
        with pytest.raises(Refused) as refused:
            rule(raw)
        assert refused.value.code.code == example["code"]
    else:
        assert rule(raw) == whole(example["text"])


def accepted(rule: Callable[[str], str], raw: str) -> str | None:
    try:
        return rule(raw)
    except Refused:
        return None


@given(any_text)
def test_an_accepted_text_keeps_every_rule(raw: str) -> None:
    for rule in (message_text, title_text):
        text = accepted(rule, raw)
        if text is None:
            continue
        assert rule(text) == text
        assert unicodedata.is_normalized("NFC", text)
        assert text.encode().decode() == text
        assert not regex.search(r"[\p{Cc}\u202a-\u202e\u2066-\u2069\u2028\u2029--[\n\t]]", text, flags=regex.V1)
        assert not regex.search(r"[\p{M}\p{DI}]{9}", text)
    title = accepted(title_text, raw)
    assert title is None or (title == title.strip() and not regex.search(r"[\n\t\p{Bidi_Control}]", title))


@given(any_text)
def test_canonically_equal_texts_are_stored_alike(raw: str) -> None:
    text = accepted(message_text, raw)
    if text is not None and not regex.search(r"[\p{M}\p{DI}]{8}", text):
        assert message_text(unicodedata.normalize("NFD", text)) == text


def test_the_short_cut_for_plain_texts_gives_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = [character for character in map(chr, range(0x110000)) if policy._PLAIN.fullmatch(character)]
    assert len(plain) > 30_000
    monkeypatch.setattr(policy, "_PLAIN", regex.compile("(?!)"))
    assert [accepted(message_text, character) for character in plain[1:]] == plain[1:]
    assert plain[0] == " "
    pairs = [unicodedata.decomposition(character).split() for character in map(chr, range(0x110000))]
    composing = {chr(int(pair[1], 16)) for pair in pairs if len(pair) == 2 and not pair[0].startswith("<")}
    assert "\u0301" in composing
    assert composing.isdisjoint(plain)


def clusters_of_unicode() -> Iterator[list[str]]:
    for line in (HERE / "GraphemeBreakTest.txt").read_text(encoding="utf-8").splitlines():
        if marked := line.partition("#")[0].strip():
            yield [
                "".join(chr(int(code, 16)) for code in cluster.replace("×", " ").split())
                for cluster in marked.split("÷")[1:-1]
            ]


def test_clusters_are_those_of_the_test_file_of_unicode() -> None:
    examples = list(clusters_of_unicode())
    assert len(examples) == 766
    assert [regex.findall(r"\X", "".join(clusters)) for clusters in examples] == examples


def test_the_limit_counts_clusters_as_unicode_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for clusters in clusters_of_unicode():
        text, count = "".join(clusters), len(clusters)
        for limit in (count, count - 1):
            few = regex.compile(rf"\X{{0,{limit}}}+")
            assert bool(few.fullmatch(policy._FLAG.sub("x", text))) == (limit == count), clusters


@pytest.mark.parametrize(("one", "other"), EXAMPLES["same_in_searches"])
def test_a_search_ignores_case_and_compatible_forms(one: str, other: str) -> None:
    assert fold_title(one) == fold_title(other)


@pytest.mark.parametrize(("one", "other"), EXAMPLES["different_in_searches"])
def test_a_search_tells_other_letters_apart(one: str, other: str) -> None:
    assert fold_title(one) != fold_title(other)


def test_folding_is_idempotent() -> None:
    for title in ("ﬁsh", "STRASSE", "İstanbul", "ΌΣΟΣ", "\u0345"):
        assert fold_title(fold_title(title)) == fold_title(title)


def test_nothing_that_takes_quadratic_time_reaches_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    normalized: list[str] = []
    counted: list[str] = []

    class Normalizer:
        @staticmethod
        def normalize(_form: str, text: str) -> str:
            normalized.append(text)
            return unicodedata.normalize("NFC", text)

    class Counter:
        @staticmethod
        def fullmatch(text: str) -> None:
            counted.append(text)

    monkeypatch.setattr(policy, "unicodedata", Normalizer)
    monkeypatch.setattr(policy, "_FEW_CLUSTERS", {limits.TEXT_MAX_CHARS: Counter})
    accepted(message_text, "\u0301\u0323" * 16_000)
    accepted(message_text, "🇰🇷" * 2_048)
    assert normalized[0] == "\u0301\u0323" * 4
    assert counted == ["x" * 2_048]


def test_the_examples_of_the_scripts_have_the_limits_of_the_contract() -> None:
    assert {name: getattr(limits, name.upper()) for name in EXAMPLES["limits"]} == EXAMPLES["limits"]


NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="Node.js is not installed")
def test_the_list_of_rooms_folds_every_character_like_the_server(tmp_path: Path) -> None:
    assert NODE
    # Python 3.11 knows fewer characters than Node.js, so only those that it knows can be compared.
    known = [code for code in range(0x110000) if unicodedata.category(chr(code)) not in ("Cn", "Cs")]
    asked, answered = tmp_path / "codes.json", tmp_path / "folded.json"
    asked.write_text(json.dumps(known))
    script = HERE.parent / "gifchat_web_js" / "fold_all.mjs"
    subprocess.run([NODE, script, asked, answered], check=True, timeout=60)
    folded = dict(zip(known, json.loads(answered.read_text()), strict=True))
    visible = [code for code in known if folded[code]]
    assert len(visible) > 250_000
    # The two forms may differ, as for Cherokee, but they must tell apart the same characters.
    pairs = {(fold_title(title_text(chr(code))), folded[code]) for code in visible}
    assert len(pairs) == len({ours for ours, _ in pairs}) == len({theirs for _, theirs in pairs})
    assert [code for code in known if not folded[code] and accepted(title_text, chr(code))] == []


def test_the_sentences_name_the_limits() -> None:
    named = {
        "text_too_long": (f"{limits.TEXT_MAX_CHARS:,}", limits.TEXT_MAX_BYTES // 1024),
        "text_too_many_lines": (limits.TEXT_MAX_LINE_BREAKS,),
        "title_too_long": (limits.TITLE_MAX_CHARS, limits.TITLE_MAX_BYTES // 1024),
    }
    for (code, numbers), language in itertools.product(named.items(), LANGUAGES):
        assert all(str(number) in TABLE[code].text(language) for number in numbers), (code, language)
