"""The texts of the pages in Korean and English: one flat catalogue each, with the same keys."""

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

from starlette.requests import Request

from gifchat_contracts.errors import TABLE
from gifchat_contracts.languages import Language, is_language, language_of

LANGUAGE_COOKIE = "gifchat_lang"
LANGUAGE_PARAMETER = "lang"


@cache
def catalogue(language: Language) -> Mapping[str, str]:
    """Every text by its key; `{name}` marks what is filled in."""
    text = resources.files(__name__).joinpath(f"{language}.json").read_text(encoding="utf-8")
    return MappingProxyType(json.loads(text))


@cache
def error_texts(language: Language) -> Mapping[str, str]:
    """The sentence for every error code of the contract."""
    return MappingProxyType({code: row.text(language) for code, row in TABLE.items()})


def language_for(request: Request) -> Language:
    """Return the language of an answer: the one in the URL, else the chosen one, else the browser's."""
    chosen = chosen_language(request) or request.cookies.get(LANGUAGE_COOKIE)
    return chosen if is_language(chosen) else language_of(request.headers.get("accept-language"))


def chosen_language(request: Request) -> Language | None:
    """Return the language that the URL asks for."""
    chosen = request.query_params.get(LANGUAGE_PARAMETER)
    return chosen if is_language(chosen) else None
