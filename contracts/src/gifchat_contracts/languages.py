"""The supported languages, and the choice of one for a request.

To add a language, add its tag to `Language`, its error texts as `texts/<tag>.py`, and its page texts as
`services/web/src/gifchat_web/i18n/<tag>.json`.
"""

from typing import Final, Literal, TypeGuard, get_args

Language = Literal["en", "ko"]
"""A language tag (BCP 47)."""

LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)

DEFAULT_LANGUAGE: Final[Language] = "en"
"""The language for requests that ask for no supported language."""


def is_language(value: object) -> TypeGuard[Language]:
    """Whether `value` is the tag of a supported language."""
    return value in LANGUAGES


def language_of(accept_language: str | None) -> Language:
    """Return the supported language that `Accept-Language` prefers (RFC 9110, 12.5.4), or the default."""
    best, best_weight = DEFAULT_LANGUAGE, 0.0
    for part in (accept_language or "").split(","):
        tag, _, parameters = part.strip().partition(";")
        weight_text = parameters.strip().removeprefix("q=") if parameters else "1"
        try:
            weight = float(weight_text)
        except ValueError:
            continue
        primary = tag.strip().lower().split("-")[0]
        if is_language(primary) and weight > best_weight:
            best, best_weight = primary, weight
    return best
