"""The policy for texts that people write: messages, titles and searches.

Problems that the sender cannot see are mended. Line breaks of all kinds become one kind. Control characters, bidi
controls and surplus marks are dropped. Everything else that breaks a rule is refused with its own code. The result is
in NFC.
`static/js/text_policy.js` does the same in the pages, and one table of examples tests both.
"""

import re
import unicodedata

import regex

from gifchat_contracts import errors, limits
from gifchat_contracts.errors import ErrorCode, Refused

# Most texts have only such characters. One check of less than 1 µs then replaces all others.
_PLAIN = re.compile(
    f"[ -~¡-¬®-ſ…‘’“”ㄱ-ㅎㅏ-ㅣ가-힣一-鿿、。ぁ-ゖァ-ヺー！-～☀-➿\U0001f300-\U0001faff]{{1,{limits.TEXT_MAX_CHARS}}}"
)
_SURROGATE = regex.compile(r"[\ud800-\udfff]")
_CONTROLS = [*range(0x20), *range(0x7F, 0xA0)]
# Embeddings, overrides and isolates can reverse a text, or everything after it on the page.
_TURNS = [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_MENDED = {
    **dict.fromkeys([*_CONTROLS, *_TURNS]),
    **dict.fromkeys(map(ord, "\n\r\v\f\x85\u2028\u2029"), "\n"),
    ord("\t"): "\t",
}
"""For `str.translate`: the replacement of each character."""
_MARKS = r"[\p{M}\p{Default_Ignorable_Code_Point}]"
_SURPLUS_MARKS = regex.compile(f"({_MARKS}{{{limits.MARKS_MAX}}}){_MARKS}+")
# U+2800 and those after it look like a space, although Unicode does not class them as white space.
_VISIBLE = regex.compile(
    r"[^\p{White_Space}\p{Cc}\p{Default_Ignorable_Code_Point}\u2800\ufff9-\ufffb"
    r"\U00013441\U00013442\U00016fe4\U0001d159]"
)
_TITLE_SPACE = regex.compile(r"[\t\n]+")
_DIRECTION_MARK = regex.compile(r"[\u061c\u200e\u200f]")
# \X looks back over all flags before a flag, which takes quadratic time. Two regional indicators are one cluster.
_FLAG = regex.compile(r"[\U0001f1e6-\U0001f1ff]{2}")
_FEW_CLUSTERS = {
    limit: regex.compile(rf"\X{{0,{limit}}}+") for limit in (limits.TEXT_MAX_CHARS, limits.TITLE_MAX_CHARS)
}


def message_text(raw: str) -> str:
    """Return the text of a message as it is stored.

    Raises:
        Refused: `VALIDATION_FAILED` if it contains half of a surrogate pair, `TEXT_EMPTY` if nothing in it is visible,
            `TEXT_TOO_LONG` or `TEXT_TOO_MANY_LINES`.
    """
    if _PLAIN.fullmatch(raw) and not raw.isspace():
        return raw
    text = _mended(raw, limits.TEXT_MAX_BYTES, errors.TEXT_TOO_LONG)
    _check(text, limits.TEXT_MAX_CHARS, limits.TEXT_MAX_BYTES, errors.TEXT_TOO_LONG)
    if text.count("\n") > limits.TEXT_MAX_LINE_BREAKS:
        raise Refused(errors.TEXT_TOO_MANY_LINES)
    return text


def title_text(raw: str) -> str:
    """Return a title as it is stored: trimmed, and on one line.

    Raises:
        Refused: `VALIDATION_FAILED` or `TEXT_EMPTY` as for a message, or `TITLE_TOO_LONG`.
    """
    text = _mended(_DIRECTION_MARK.sub("", raw), limits.TITLE_MAX_BYTES, errors.TITLE_TOO_LONG)
    title = _TITLE_SPACE.sub(" ", text).strip()
    _check(title, limits.TITLE_MAX_CHARS, limits.TITLE_MAX_BYTES, errors.TITLE_TOO_LONG)
    return title


def fold_title(title: str) -> str:
    """Return a title in the form used for searches. It ignores case and compatible character forms."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", title).casefold())


def _mended(raw: str, max_bytes: int, too_long: ErrorCode) -> str:
    if len(raw) > max_bytes * limits.RAW_CHARS_PER_BYTE:
        raise Refused(too_long)
    text = raw
    if not raw.isprintable():
        if _SURROGATE.search(raw):
            raise Refused(errors.VALIDATION_FAILED, detail="A text must not contain half of a surrogate pair.")
        text = raw.replace("\r\n", "\n").translate(_MENDED)
    # Before NFC too, because sorting a long run of marks takes quadratic time.
    text = unicodedata.normalize("NFC", _SURPLUS_MARKS.sub(r"\1", text))
    return _SURPLUS_MARKS.sub(r"\1", text)


def _check(text: str, max_chars: int, max_bytes: int, too_long: ErrorCode) -> None:
    if not _VISIBLE.search(text):
        raise Refused(errors.TEXT_EMPTY)
    # A cluster has at least one code point, and a code point at most four bytes.
    if len(text) * 4 > max_bytes and len(text.encode()) > max_bytes:
        raise Refused(too_long)
    if len(text) > max_chars and not _FEW_CLUSTERS[max_chars].fullmatch(_FLAG.sub("x", text)):
        raise Refused(too_long)
