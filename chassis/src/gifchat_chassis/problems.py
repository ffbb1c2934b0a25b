"""Problem documents (RFC 9457): the body of every refusal over HTTP."""

import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from starlette.responses import JSONResponse, Response

from gifchat_contracts.errors import ErrorCode
from gifchat_contracts.languages import Language

MEDIA_TYPE = "application/problem+json"


def problem_body(code: ErrorCode, language: Language, path: str, detail: str | None = None) -> dict[str, Any]:
    """Return the members of the document for `code`; `detail` defaults to the code's text."""
    text = code.text(language)
    return {
        "type": f"urn:gifchat:error:{code.code}",
        "title": text,
        "status": code.status,
        "detail": detail or text,
        "code": code.code,
        "action": code.action.value,
        "retry": code.retry,
        "instance": quote(path, safe="/:@!$&'()*+,;=~"),
    }


def problem_response(
    code: ErrorCode,
    language: Language,
    path: str,
    *,
    detail: str | None = None,
    retry_after_s: float | None = None,
    wrong: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the response for `code`; `wrong` lists each invalid part of the request."""
    body = problem_body(code, language, path, detail)
    if wrong:
        body["errors"] = list(wrong)
    response = JSONResponse(body, code.status, headers, media_type=MEDIA_TYPE)
    response.headers.update({"Content-Language": language, "Vary": "Accept-Language", "Cache-Control": "no-store"})
    if code.retry:
        response.headers["Retry-After"] = retry_after(retry_after_s)
    return response


def retry_after(seconds: float | None) -> str:
    """Return the value of `Retry-After`: whole seconds, at least one."""
    return str(max(1, math.ceil(seconds or 0)))
