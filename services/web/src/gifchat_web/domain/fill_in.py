"""Fills in the texts of the pages.

A text is a string, or an object with one string for each plural category (CLDR), chosen by the value `count`. In a
string, `{name}` stands for a value, and `{을/를}` for the Korean particle that fits the text before it.
`static/js/fill_in.js` does the same for the pages' scripts.
"""

import re
from collections.abc import Mapping

from gifchat_web.domain.particles import particle

Text = str | Mapping[str, str]

_FIELD = re.compile(r"\{([^{}]+)\}")


def fill_in(text: Text, values: Mapping[str, object]) -> str:
    """Return `text` with `values` in it.

    Raises:
        KeyError: a value is missing.
    """
    pattern = text if isinstance(text, str) else text[_plural_category(text, values["count"])]
    filled, at = "", 0
    for field in _FIELD.finditer(pattern):
        filled += pattern[at : field.start()]
        name = field[1]
        filled += particle(filled, name) if "/" in name else str(values[name])
        at = field.end()
    return filled + pattern[at:]


def _plural_category(forms: Mapping[str, str], count: object) -> str:
    """Return the CLDR category for a whole number. A test compares this rule with `Intl.PluralRules`."""
    return "one" if count == 1 and "one" in forms else "other"
