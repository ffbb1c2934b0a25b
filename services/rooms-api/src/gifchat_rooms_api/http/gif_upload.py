"""Read one file from a `multipart/form-data` body as it arrives, in memory and within the size limit."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from gifchat_contracts import errors, limits
from gifchat_contracts.errors import Refused

FIELD = "gif"

OVERHEAD_MAX_BYTES = 64 * 1024
"""Allowance for everything around the file: boundaries, part headers, other fields."""

BODY_MAX_BYTES = limits.GIF_MAX_BYTES + OVERHEAD_MAX_BYTES

_FIELD_SCHEMA = {
    "type": "string",
    "format": "binary",
    "description": f"GIF, PNG, JPEG or WebP, at most {limits.GIF_MAX_BYTES} bytes.",
}
REQUEST_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {"type": "object", "properties": {FIELD: _FIELD_SCHEMA}, "required": [FIELD]},
        }
    },
}
"""The request body in the OpenAPI document."""


@dataclass(frozen=True, slots=True)
class UploadDeadlines:
    """How long a body may take to arrive."""

    whole_s: float
    stall_s: float
    """Maximum time without a byte."""


async def read_gif(request: Request, deadlines: UploadDeadlines) -> bytes:
    """Return the bytes of the field `gif`. Ignores its file name and media type.

    Raises:
        Refused: `GIF_TOO_LARGE`, as early as possible. `MALFORMED` if the body is not multipart or is truncated.
            `VALIDATION_FAILED` unless there is exactly one field `gif`. `UNAVAILABLE` if the body misses a deadline.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > BODY_MAX_BYTES:
        raise Refused(errors.GIF_TOO_LARGE)
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= 256:
        raise Refused(errors.MALFORMED)
    try:
        async with asyncio.timeout(deadlines.whole_s):
            return await _parse(_steady(request.stream(), deadlines.stall_s), boundary)
    except TimeoutError as error:
        raise Refused(errors.UNAVAILABLE) from error
    except (FormParserError, ClientDisconnect) as error:
        raise Refused(errors.MALFORMED) from error


async def _steady(stream: AsyncIterator[bytes], stall_s: float) -> AsyncIterator[bytes]:
    """Yield from `stream`; raise `TimeoutError` if the next piece takes longer than `stall_s`."""
    pieces = aiter(stream)
    while True:
        async with asyncio.timeout(stall_s):
            try:
                piece = await anext(pieces)
            except StopAsyncIteration:
                return
        yield piece


async def _parse(stream: AsyncIterator[bytes], boundary: bytes) -> bytes:
    form = _Form()
    parser = MultipartParser(boundary, form.callbacks())
    received = 0
    async for piece in stream:
        received += len(piece)
        if received > BODY_MAX_BYTES:
            raise Refused(errors.GIF_TOO_LARGE)
        parser.write(piece)
        if form.file_bytes > limits.GIF_MAX_BYTES:
            raise Refused(errors.GIF_TOO_LARGE)
    if not form.ended:
        raise Refused(errors.MALFORMED)
    if form.files != 1:
        raise Refused(errors.VALIDATION_FAILED)
    return b"".join(form.pieces)


class _Form:
    """Keeps the field `gif` and ignores all others."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.file_bytes = 0
        self.files = 0
        self.ended = False
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._is_file = False

    def callbacks(self) -> Any:
        """Return the parser's callbacks. The library does not export their type."""
        return {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_part_data": self._on_part_data,
            "on_end": self._on_end,
        }

    def _on_part_begin(self) -> None:
        self._is_file = False

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._header_value))
            self._is_file = options.get(b"name") == FIELD.encode()
            self.files += self._is_file
        self._header_name.clear()
        self._header_value.clear()

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self.pieces.append(data[start:end])
            self.file_bytes += end - start

    def _on_end(self) -> None:
        self.ended = True
