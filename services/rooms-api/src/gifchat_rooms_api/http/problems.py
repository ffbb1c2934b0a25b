"""Problem documents (RFC 9457): answer refusals and failures with them, and describe them in the OpenAPI document."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gifchat_chassis.problems import MEDIA_TYPE, problem_body, problem_response
from gifchat_contracts import errors, languages
from gifchat_contracts.errors import ErrorCode, Refused
from gifchat_rooms_api import metrics
from gifchat_rooms_api.ports import OutcomeUnknownError, PasswordsBusyError, StoreUnavailableError

_BY_STATUS = {404: errors.NOT_FOUND, 405: errors.METHOD_NOT_ALLOWED, 413: errors.PAYLOAD_TOO_LARGE}
MEMBER_PROBLEMS = (
    errors.SESSION_REQUIRED,
    errors.ROOM_NOT_FOUND,
    errors.NOT_A_MEMBER,
    errors.BANNED,
    errors.KICKED,
    errors.ADMISSION_UNAVAILABLE,
)
OWNER_PROBLEMS = (
    errors.SESSION_REQUIRED,
    errors.ORIGIN_REFUSED,
    errors.ROOM_NOT_FOUND,
    errors.NOT_OWNER,
    errors.OUTCOME_UNKNOWN,
)
BODY_PROBLEMS = (errors.ORIGIN_REFUSED, errors.MALFORMED, errors.PAYLOAD_TOO_LARGE)
TITLE_PROBLEMS = (errors.TEXT_EMPTY, errors.TITLE_TOO_LONG)
_SCHEMA: Mapping[str, Any] = {
    "title": "Problem",
    "description": "What went wrong and what to do about it (RFC 9457).",
    "type": "object",
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "URN of the code."},
        "title": {"type": "string", "description": "A sentence for people, in the language of `Accept-Language`."},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "Stable identifier for programs."},
        "action": {"type": "string", "enum": ["fix", "stop", "retry", "reconnect"]},
        "retry": {"type": "boolean", "description": "Whether the same request may succeed later."},
        "instance": {"type": "string", "description": "The requested path."},
        "errors": {
            "type": "array",
            "description": "With `validation_failed`: every violation.",
            "items": {
                "type": "object",
                "properties": {"where": {"type": "string"}, "message": {"type": "string"}},
                "required": ["where", "message"],
            },
        },
    },
    "required": ["type", "title", "status", "detail", "code", "action", "retry", "instance"],
}
_log = structlog.get_logger(__name__)


def problem(
    request: Request,
    code: ErrorCode,
    *,
    detail: str | None = None,
    retry_after_s: float | None = None,
    wrong: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the response for `code`, in the language that the client prefers."""
    metrics.REFUSED.labels(code.code).inc()
    return problem_response(
        code,
        languages.language_of(request.headers.get("accept-language")),
        request.url.path,
        detail=detail,
        retry_after_s=retry_after_s,
        wrong=wrong,
        headers=headers,
    )


def problems(*codes: ErrorCode) -> dict[int | str, dict[str, Any]]:
    """Return a route's `responses`: every answer except success, with an example for each code.

    The codes that any route can answer with (an invalid parameter, an unavailable store) are always included.
    """
    by_status: dict[int | str, dict[str, Any]] = {}
    for code in dict.fromkeys((*codes, errors.VALIDATION_FAILED, errors.UNAVAILABLE)):
        answer = by_status.setdefault(
            code.status,
            {"description": "", "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}},
        )
        answer["description"] += f"{' · ' if answer['description'] else ''}`{code.code}`: {code.text('en')}"
        examples = answer["content"][MEDIA_TYPE].setdefault("examples", {})
        examples[code.code] = {"value": problem_body(code, "ko", "/api/v1/rooms/65f0c0ffee0123456789abcd")}
        if code.retry:
            answer["headers"] = {
                "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
            }
    return by_status


def document_problems(app: FastAPI) -> None:
    """Add the schema of problem documents to the OpenAPI document."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        document.setdefault("components", {}).setdefault("schemas", {})["Problem"] = dict(_SCHEMA)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def answer_with_problems(app: FastAPI) -> None:
    """Answer every error that a route can raise with a problem document."""

    @app.exception_handler(Refused)
    async def refused(request: Request, refusal: Refused) -> Response:
        return problem(
            request,
            refusal.code,
            detail=refusal.detail,
            retry_after_s=refusal.retry_after_s,
            headers={errors.WHOLE_ADDRESS_HEADER: "1"} if refusal.whole_address else None,
        )

    @app.exception_handler(StoreUnavailableError)
    async def store_unavailable(request: Request, error: StoreUnavailableError) -> Response:
        _log.warning("store_unavailable", error=str(error))
        return problem(request, errors.UNAVAILABLE)

    @app.exception_handler(OutcomeUnknownError)
    async def outcome_unknown(request: Request, error: OutcomeUnknownError) -> Response:
        _log.warning("outcome_unknown", error=str(error))
        return problem(request, errors.OUTCOME_UNKNOWN)

    @app.exception_handler(PasswordsBusyError)
    async def passwords_busy(request: Request, _error: PasswordsBusyError) -> Response:
        return problem(request, errors.UNAVAILABLE, retry_after_s=2)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        found = error.errors()
        if any(each["type"] == "json_invalid" for each in found):
            return problem(request, errors.MALFORMED, detail="The body is not JSON.")
        return problem(request, errors.VALIDATION_FAILED, wrong=_violations(found))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        code = _BY_STATUS.get(error.status_code, errors.MALFORMED)
        return problem(request, code, headers=error.headers)

    @app.exception_handler(Exception)
    async def crashed(request: Request, _error: Exception) -> Response:
        return problem(request, errors.INTERNAL)


def _violations(found: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return where and why the input is invalid, without the input itself, which may be a password."""
    return [
        {
            "where": ".".join(map(str, each["loc"])).encode("ascii", "replace").decode(),
            "message": each["msg"].removeprefix("Value error, "),
        }
        for each in islice(found, 20)
    ]
