"""Chooses Korean particles by the final sound of the word before them.

`static/js/particles.js` does the same for the pages' scripts. One table of examples tests both.
"""

import re
import unicodedata

_READABLE = re.compile(r"[^\W_]|%")
_NO_CONSONANT, _RIEUL, _OTHER_CONSONANT = "", "ㄹ", "-"
_SYLLABLES, _FINALS, _FINAL_RIEUL = range(0xAC00, 0xD7A4), 28, 8
_CONSONANT_LETTERS = range(0x3131, 0x314F)
_READ_WITH_RIEUL = frozenset("lr178")
_READ_WITH_OTHER_CONSONANT = frozenset("mn036")


def particle(before: str, pair: str) -> str:
    """Return the half of `pair` that fits the text `before` it.

    `pair` is `<after a consonant>/<after a vowel>`, such as `을/를`, `이/가` or `으로/로`. Quotes and brackets after
    the word do not count. Latin letters and digits sound like their Korean names. Words in other scripts count as
    ending in a vowel.
    """
    after_consonant, _, after_vowel = pair.partition("/")
    final = _final_sound(before)
    takes_vowel_form = final == _NO_CONSONANT or (final == _RIEUL and after_consonant.startswith("으로"))
    return after_vowel if takes_vowel_form else after_consonant


def _final_sound(text: str) -> str:
    readable = _READABLE.findall(unicodedata.normalize("NFC", text))
    if not readable:
        return _NO_CONSONANT
    last = readable[-1]
    code = ord(last)
    if code in _SYLLABLES:
        final = (code - _SYLLABLES.start) % _FINALS
        return (_RIEUL if final == _FINAL_RIEUL else _OTHER_CONSONANT) if final else _NO_CONSONANT
    if code in _CONSONANT_LETTERS:
        return _RIEUL if last == _RIEUL else _OTHER_CONSONANT
    name = unicodedata.normalize("NFKC", last).lower()
    if name in _READ_WITH_RIEUL:
        return _RIEUL
    return _OTHER_CONSONANT if name in _READ_WITH_OTHER_CONSONANT else _NO_CONSONANT
