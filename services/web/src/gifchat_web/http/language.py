"""Chooses the language of an answer."""

from starlette.requests import Request

from gifchat_contracts.languages import Language, is_language, language_of

LANGUAGE_COOKIE = "gifchat_lang"


def language_for(request: Request) -> Language:
    """Return the language of an answer: the one in the URL, else the one in the cookie, else the browser's."""
    chosen = chosen_language(request) or request.cookies.get(LANGUAGE_COOKIE)
    return chosen if is_language(chosen) else language_of(request.headers.get("accept-language"))


def chosen_language(request: Request) -> Language | None:
    """Return the language that the URL asks for."""
    chosen = request.query_params.get("lang")
    return chosen if is_language(chosen) else None
