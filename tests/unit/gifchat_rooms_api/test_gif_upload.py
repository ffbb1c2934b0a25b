"""The field `gif` is read from a body that arrives in pieces of any size."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from gifchat_contracts import errors, limits
from gifchat_contracts.errors import Refused
from gifchat_rooms_api.http import gif_upload
from gifchat_rooms_api.http.gif_upload import UploadDeadlines, read_gif

BOUNDARY = "----boundary7"
PATIENT = UploadDeadlines(whole_s=60.0, stall_s=60.0)


def part(name: str, content: bytes, more: str = '; filename="../../etc/passwd"') -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"{more}\r\nContent-Type: text/html\r\n\r\n'
    return f"--{BOUNDARY}\r\n{disposition}".encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def request(pieces: Sequence[bytes], cut: bool = False, stalls: bool = False, **headers: str) -> Request:
    sent = {"content_type": f"multipart/form-data; boundary={BOUNDARY}"} | headers
    waiting = list(pieces)

    async def receive() -> dict[str, Any]:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting) or cut or stalls}
        if stalls:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in sent.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": raw}, receive)


async def code_of(wanted: Request, deadlines: UploadDeadlines = PATIENT) -> errors.ErrorCode:
    with pytest.raises(Refused) as caught:
        await read_gif(wanted, deadlines)
    return caught.value.code


async def test_the_field_gif_is_found_whatever_its_file_name() -> None:
    body = form(part("title", b"not this", ""), part("gif", b"GIF89a\r\n--\r\n\0"), part("gifs", b"nor this"))
    assert await read_gif(request([body]), PATIENT) == b"GIF89a\r\n--\r\n\0"


@given(st.binary(max_size=200), st.integers(1, 64))
async def test_the_result_does_not_depend_on_how_the_body_is_split(content: bytes, size: int) -> None:
    body = form(part("other", b"x" * 10), part("gif", content))
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    assert await read_gif(request(pieces), PATIENT) == content


async def test_a_file_may_have_the_maximum_size_but_not_one_byte_more() -> None:
    largest = bytes(limits.GIF_MAX_BYTES)
    assert await read_gif(request([form(part("gif", largest))]), PATIENT) == largest
    assert await code_of(request([form(part("gif", largest + b"x"))])) == errors.GIF_TOO_LARGE


async def test_a_too_large_declared_length_is_refused_before_reading() -> None:
    declared = str(gif_upload.BODY_MAX_BYTES + 1)
    assert await code_of(request([], content_length=declared)) == errors.GIF_TOO_LARGE


async def test_other_fields_are_bounded() -> None:
    body = form(part("gif", b"x"), part("other", bytes(gif_upload.BODY_MAX_BYTES)))
    assert await code_of(request([body])) == errors.GIF_TOO_LARGE


@pytest.mark.parametrize("body", [form(), form(part("other", b"x")), form(part("gif", b"a"), part("gif", b"b"))])
async def test_there_must_be_exactly_one_field_gif(body: bytes) -> None:
    assert await code_of(request([body])) == errors.VALIDATION_FAILED


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/mixed; boundary=x",
        "multipart/form-data; boundary=" + "x" * 257,
        "",
        ";",
        "\xff",
    ],
)
async def test_a_body_with_another_media_type_is_malformed(content_type: str) -> None:
    body = form(part("gif", b"x"))
    assert await code_of(request([body], content_type=content_type)) == errors.MALFORMED


@pytest.mark.parametrize("body", [b"", b"nonsense", b"--" + BOUNDARY.encode() + b"\r\nno header\r\n\r\n", form()[:10]])
async def test_a_body_that_is_not_a_form_is_malformed(body: bytes) -> None:
    assert await code_of(request([body])) == errors.MALFORMED


async def test_a_truncated_body_is_malformed() -> None:
    whole = form(part("gif", b"x" * 100))
    assert await code_of(request([whole[:-5]])) == errors.MALFORMED
    assert await code_of(request([whole[:80]], cut=True)) == errors.MALFORMED


@pytest.mark.parametrize("deadlines", [UploadDeadlines(0.01, 60.0), UploadDeadlines(60.0, 0.01)])
async def test_a_half_sent_body_is_cut_by_either_deadline(deadlines: UploadDeadlines) -> None:
    half = request([form(part("gif", b"x"))[:20]], stalls=True)
    assert await code_of(half, deadlines) == errors.UNAVAILABLE


@given(st.binary(max_size=300))
async def test_any_noise_leads_to_a_refusal(noise: bytes) -> None:
    for body in (noise, part("gif", b"")[:-2] + noise):
        try:
            await read_gif(request([body]), PATIENT)
        except Refused as refused:
            assert refused.code in (errors.MALFORMED, errors.VALIDATION_FAILED)  # noqa: PT017 - one of two codes
