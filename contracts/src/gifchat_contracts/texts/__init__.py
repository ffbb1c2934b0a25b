"""The text of each error code, with one module per language."""

from collections.abc import Mapping
from importlib import import_module
from typing import Final

from gifchat_contracts.languages import LANGUAGES, Language

ERROR_TEXTS: Final[Mapping[Language, Mapping[str, str]]] = {
    language: import_module(f"{__name__}.{language}").TEXTS for language in LANGUAGES
}
"""Language → error code → text."""
