"""The texts of the pages: one JSON file per language, all with the same keys. `domain.fill_in` describes a text."""

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

from gifchat_contracts.languages import LANGUAGES, Language
from gifchat_contracts.texts import ERROR_TEXTS
from gifchat_web.domain.fill_in import Text


@cache
def catalogue(language: Language) -> Mapping[str, Text]:
    """Return the texts of a language by key."""
    text = resources.files(__name__).joinpath(f"{language}.json").read_text(encoding="utf-8")
    return MappingProxyType(json.loads(text))


def script_file(language: Language) -> str:
    """Return the path of the file that gives the pages' scripts their texts."""
    return f"texts/{language}.json"


def script_files() -> dict[str, bytes]:
    """Return the scripts' text files by path. Each holds the page texts and error texts of one language."""
    return {
        script_file(language): json.dumps(
            {"texts": dict(catalogue(language)), "errors": dict(ERROR_TEXTS[language])},
            ensure_ascii=False,
            separators=(",", ":"),
        ).encode()
        for language in LANGUAGES
    }
