"""Reads form bodies: urlencoded, or JSON as the original's scripts sent it."""

import json
import math
from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.requests import Request

from gifchat_contracts import errors, limits
from gifchat_contracts.errors import ErrorCode, Refused

_BODY_MAX_BYTES = 64 * 1024
_MULTIPART_FRAME_BYTES = 64 * 1024


async def read_form(request: Request) -> Mapping[str, str]:
    """Return the fields of the body.

    Raises:
        Refused: `MALFORMED`, `PAYLOAD_TOO_LARGE` or `VALIDATION_FAILED`.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    check_length(request, _BODY_MAX_BYTES, errors.PAYLOAD_TOO_LARGE)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY_MAX_BYTES:
            raise Refused(errors.PAYLOAD_TOO_LARGE)
    try:
        if kind == "application/json":
            value = json.loads(body.decode("utf-8-sig") or "{}", parse_constant=_finite, parse_float=_finite)
            if not isinstance(value, dict):
                raise Refused(errors.MALFORMED)
            return {name: str(field) for name, field in value.items() if isinstance(field, str | int | float)}
        if kind in {"", "application/x-www-form-urlencoded"}:
            return _fields(body.decode())
    except (ValueError, RecursionError) as error:
        raise Refused(errors.MALFORMED) from error
    raise Refused(errors.MALFORMED)


def read_query(request: Request) -> Mapping[str, str]:
    """Return the fields of the query string.

    Raises:
        Refused: `MALFORMED`.
    """
    try:
        return _fields(request.scope["query_string"].decode())
    except ValueError as error:
        raise Refused(errors.MALFORMED) from error


def _fields(urlencoded: str) -> Mapping[str, str]:
    """Parse fields in UTF-8. Without `strict`, other bytes would become replacement characters."""
    return dict(parse_qsl(urlencoded, keep_blank_values=True, max_num_fields=20, errors="strict"))


def _finite(literal: str) -> float:
    """Parse a number; refuse `NaN` and `Infinity`, which are not JSON, and numbers too large for a double (`1e999`)."""
    number = float(literal)
    if not math.isfinite(number):
        raise Refused(errors.VALIDATION_FAILED)
    return number


def check_gif_upload(request: Request) -> str:
    """Return the `Content-Type` of a GIF upload, with its boundary.

    Raises:
        Refused: `MALFORMED` if it is not multipart or its `Content-Length` is not a number, `GIF_TOO_LARGE` if its
            `Content-Length` is too large.
    """
    content_type = request.headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/form-data"):
        raise Refused(errors.MALFORMED)
    check_length(request, limits.GIF_MAX_BYTES + _MULTIPART_FRAME_BYTES, errors.GIF_TOO_LARGE)
    return content_type


def check_length(request: Request, max_bytes: int, code: ErrorCode) -> None:
    """Raise `Refused`: `MALFORMED` if the `Content-Length` is not a number, `code` if it is above `max_bytes`."""
    length = request.headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit():
        raise Refused(errors.MALFORMED)
    if int(length) > max_bytes:
        raise Refused(code)
