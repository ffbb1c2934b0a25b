"""Renders templates with texts in the user's language, links to static files, and the data for the page's scripts.

A template is rendered without its user. It has marks in the user's place, which `Pages.page` replaces for each answer.
So a rendered page can be kept for everybody.
"""

import secrets
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import asdict
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from gifchat_chassis.problems import problem_response, retry_after
from gifchat_contracts import limits
from gifchat_contracts.errors import ErrorCode
from gifchat_contracts.languages import LANGUAGES, Language
from gifchat_web.domain.fill_in import fill_in
from gifchat_web.http.language import LANGUAGE_COOKIE, chosen_language, language_for
from gifchat_web.http.session_cookies import Session
from gifchat_web.http.static_files import HashedFiles
from gifchat_web.i18n import catalogue, script_file

_YEAR_S = 365 * 24 * 3_600
_LIMITS = {
    "text_max_chars": limits.TEXT_MAX_CHARS,
    "text_max_bytes": limits.TEXT_MAX_BYTES,
    "text_max_line_breaks": limits.TEXT_MAX_LINE_BREAKS,
    "gif_max_bytes": limits.GIF_MAX_BYTES,
    "title_max_chars": limits.TITLE_MAX_CHARS,
    "title_max_bytes": limits.TITLE_MAX_BYTES,
    "password_max_chars": limits.PASSWORD_MAX_CHARS,
    "room_max_min": limits.ROOM_MAX_MIN,
    "room_max_max": limits.ROOM_MAX_MAX,
    "room_max_default": limits.ROOM_MAX_DEFAULT,
    "slow_mode_max_s": limits.SLOW_MODE_MAX_S,
}

_JSON: dict[str, Any] = {"allow_nan": False, "ensure_ascii": False, "separators": (",", ":")}

# Nobody can guess the marks, so no title or text can contain one.
_COLOR = f"color-{secrets.token_hex(16)}"
_YOU = f"you-{secrets.token_hex(16)}"
_YOU_JSON = f'"{_YOU}"'.encode()


class Pages:
    """Renders pages for people, and problem documents for programs."""

    def __init__(self, static_files: HashedFiles, *, secure_cookies: bool, max_kept: int = 100) -> None:
        """`max_kept`: how many rendered pages are kept."""
        self._static_files = static_files
        self._secure_cookies = secure_cookies
        self._templates = Environment(
            loader=PackageLoader("gifchat_web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.policies["json.dumps_kwargs"] = _JSON
        self._templates.globals["static"] = static_files.url
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._max_kept = max_kept

    def page(
        self,
        request: Request,
        template: str,
        status_code: int = 200,
        *,
        same: Hashable = None,
        data: Mapping[str, Any],
        **values: Any,
    ) -> HTMLResponse:
        """Render `template`, or reuse a page that was rendered with an equal `same` in the same language.

        `same` stands for `data` and all of `values`: pages with an equal `same` must show the same to everybody. With
        None, the template is always rendered. `data`, a JSON value, is for the page's scripts. They also get the limits
        and the user's identity.
        """
        language = language_for(request)
        session: Session | None = getattr(request.state, "session", None)
        key = (template, language, session is None, same)
        content = self._kept.get(key) if same is not None else None
        if content is not None:
            self._kept.move_to_end(key)
        else:
            content = self._render(template, language, with_user=session is not None, data=data, **values)
            if same is not None:
                self._keep(key, content)
        if session is not None:
            content = content.replace(_COLOR.encode(), session.identity.color.encode())
            content = content.replace(_YOU_JSON, htmlsafe_json_dumps(asdict(session.identity), **_JSON).encode())
        headers = {"Cache-Control": "private, no-cache", "Vary": "Accept-Language"}
        response = HTMLResponse(content, status_code, headers)
        if chosen := chosen_language(request):
            response.set_cookie(
                LANGUAGE_COOKIE, chosen, max_age=_YEAR_S, httponly=True, samesite="lax", secure=self._secure_cookies
            )
        return response

    def _render(
        self, template: str, language: Language, *, with_user: bool, data: Mapping[str, Any], **values: Any
    ) -> bytes:
        """Render `template` for everybody, with marks in the user's place."""
        texts = catalogue(language)
        html = self._templates.get_template(template).render(
            t=lambda key, **values: fill_in(texts[key], values),
            language=language,
            other_languages=[(other, catalogue(other)["language_name"]) for other in LANGUAGES if other != language],
            limits=_LIMITS,
            you={"color": _COLOR} if with_user else None,
            data={
                "language": language,
                "texts_url": self._static_files.url(script_file(language)),
                "limits": _LIMITS,
                "you": _YOU if with_user else None,
                **data,
            },
            **values,
        )
        return html.encode()

    def _keep(self, key: Hashable, content: bytes) -> None:
        """Keep a rendered page. If there are too many, forget the least recently used one."""
        self._kept[key] = content
        if len(self._kept) > self._max_kept:
            self._kept.popitem(last=False)

    def problem(self, request: Request, code: ErrorCode, retry_after_s: float | None = None) -> Response:
        """Return a page that says what went wrong, or a problem document for clients that ask for JSON."""
        language = language_for(request)
        if wants_json(request):
            return problem_response(code, language, request.url.path, retry_after_s=retry_after_s)
        response = self.page(request, "error.html", code.status, data={}, text=code.text(language), status=code.status)
        if code.retry:
            response.headers["Retry-After"] = retry_after(retry_after_s)
        return response


def wants_json(request: Request) -> bool:
    """Whether the client is a program: it accepts JSON but not HTML, or asks for a path of the API."""
    accept = request.headers.get("accept", "")
    accepts_json = "application/json" in accept or "application/problem+json" in accept
    return request.url.path.startswith("/api/") or (accepts_json and "text/html" not in accept)
