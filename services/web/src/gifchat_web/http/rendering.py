"""Renders templates with texts in the user's language, links to static files, and the data for the page's scripts."""

from dataclasses import asdict
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from gifchat_chassis.problems import problem_response, retry_after
from gifchat_contracts import limits
from gifchat_contracts.errors import ErrorCode
from gifchat_contracts.languages import LANGUAGES
from gifchat_web.domain.fill_in import fill_in
from gifchat_web.http.language import LANGUAGE_COOKIE, chosen_language, language_for
from gifchat_web.http.session_cookies import Session
from gifchat_web.http.static_files import HashedFiles
from gifchat_web.i18n import catalogue, script_file

_YEAR_S = 365 * 24 * 3_600
_LIMITS = {
    "text_max_chars": limits.TEXT_MAX_CHARS,
    "gif_max_bytes": limits.GIF_MAX_BYTES,
    "title_max_chars": limits.TITLE_MAX_CHARS,
    "password_max_chars": limits.PASSWORD_MAX_CHARS,
    "room_max_min": limits.ROOM_MAX_MIN,
    "room_max_max": limits.ROOM_MAX_MAX,
    "room_max_default": limits.ROOM_MAX_DEFAULT,
    "slow_mode_max_s": limits.SLOW_MODE_MAX_S,
}


class Pages:
    """Renders pages for people, and problem documents for programs."""

    def __init__(self, static_files: HashedFiles, *, secure_cookies: bool) -> None:
        self._static_files = static_files
        self._secure_cookies = secure_cookies
        self._templates = Environment(
            loader=PackageLoader("gifchat_web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        json_format = {"allow_nan": False, "ensure_ascii": False, "separators": (",", ":")}
        self._templates.policies["json.dumps_kwargs"] = json_format
        self._templates.globals["static"] = static_files.url

    def page(self, request: Request, template: str, status_code: int = 200, **values: Any) -> HTMLResponse:
        """Render `template`.

        `values["data"]`, a JSON value, is for the page's scripts. They also get the limits and the user's identity.
        """
        language = language_for(request)
        session: Session | None = getattr(request.state, "session", None)
        you = asdict(session.identity) if session else None
        data = {
            "language": language,
            "texts_url": self._static_files.url(script_file(language)),
            "limits": _LIMITS,
            "you": you,
            **values.pop("data", {}),
        }
        html = self._templates.get_template(template).render(
            t=lambda key, **values: fill_in(catalogue(language)[key], values),
            language=language,
            other_languages=[(other, catalogue(other)["language_name"]) for other in LANGUAGES if other != language],
            limits=_LIMITS,
            you=you,
            data=data,
            **values,
        )
        headers = {"Cache-Control": "private, no-cache", "Vary": "Accept-Language"}
        response = HTMLResponse(html, status_code, headers)
        if chosen := chosen_language(request):
            response.set_cookie(
                LANGUAGE_COOKIE, chosen, max_age=_YEAR_S, httponly=True, samesite="lax", secure=self._secure_cookies
            )
        return response

    def problem(self, request: Request, code: ErrorCode, retry_after_s: float | None = None) -> Response:
        """Return a page that says what went wrong, or a problem document for clients that ask for JSON."""
        language = language_for(request)
        if wants_json(request):
            return problem_response(code, language, request.url.path, retry_after_s=retry_after_s)
        response = self.page(request, "error.html", code.status, text=code.text(language), status=code.status)
        if code.retry:
            response.headers["Retry-After"] = retry_after(retry_after_s)
        return response


def wants_json(request: Request) -> bool:
    """Whether the client is a program: it accepts JSON but not HTML, or asks for a path of the API."""
    accept = request.headers.get("accept", "")
    accepts_json = "application/json" in accept or "application/problem+json" in accept
    return request.url.path.startswith("/api/") or (accepts_json and "text/html" not in accept)
