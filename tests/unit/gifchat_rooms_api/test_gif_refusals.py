"""The walkers refuse bad files with a code. They handle any input in bounded time."""

import struct
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gifchat_contracts import errors, limits
from gifchat_contracts.errors import Refused
from gifchat_rooms_api.domain.gif import Picture, examine
from gifchat_testkit.pictures import picture, png_chunk, riff_chunk, webp_of

CODES = {errors.GIF_WRONG_TYPE, errors.GIF_TOO_MANY_PIXELS, errors.GIF_BROKEN}
TEN_MIB = limits.GIF_MAX_BYTES

PNG_START = b"\x89PNG\r\n\x1a\n"
GIF_START = b"GIF89a\1\0\1\0\0\0\0"
GIF_FRAME = b"\x2c\0\0\0\0\1\0\1\0\0\2\0"
JPEG_FRAME = b"\xff\xc0\0\x0b\x08\0\x08\0\x08\1\1\x11\0"
JPEG_SCAN = b"\xff\xda\0\x08\1\1\0\0\x3f\0"


def code_of(data: bytes) -> errors.ErrorCode | None:
    """Return the error code with which `data` is refused, or None if it is accepted."""
    try:
        examine(data)
    except Refused as refused:
        return refused.code
    return None


def ihdr(width: int, height: int) -> bytes:
    return png_chunk(b"IHDR", struct.pack(">II", width, height) + b"\x08\x02\0\0\0")


def vp8x(width: int, height: int, flags: int = 0) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return riff_chunk(b"VP8X", bytes((flags, 0, 0, 0)) + sides)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF8",
        b"<html>GIF89a",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
        b"BM" + bytes(100),
        b"RIFF\4\0\0\0WAVE",
        b"\0\0\0\x1cftypavif",
        b" GIF89a",
    ],
)
def test_a_file_of_another_type_is_refused(data: bytes) -> None:
    assert code_of(data) == errors.GIF_WRONG_TYPE


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GIF89a\xff\xff\xff\xff\0\0\0" + GIF_FRAME + b";", id="gif 65535 x 65535"),
        pytest.param(GIF_START + b"\x2c\0\0\0\0\xff\xff\xff\xff\0\2\0;", id="gif with a frame of 65535 x 65535"),
        pytest.param(GIF_START + GIF_FRAME * 100_000 + b";", id="gif with 100k frames"),
        pytest.param(b"GIF89a\0\x10\0\x10\0\0\0" + GIF_FRAME * 15 + b";", id="gif with 15 frames of 4096 x 4096"),
        pytest.param(b"GIF89a=1/*" + bytes(3) + GIF_FRAME + b"*/", id="gif that is JavaScript"),
        pytest.param(PNG_START + ihdr(65_535, 65_535), id="png 65535 x 65535"),
        pytest.param(PNG_START + ihdr(2**31, 1), id="png 2147483648 x 1"),
        pytest.param(b"\xff\xd8" + b"\xff\xc0\0\x0b\x08\xff\xff\xff\xff\1\1\x11\0", id="jpeg 65535 x 65535"),
        pytest.param(b"\xff\xd8" + JPEG_FRAME + (JPEG_SCAN + b"\0\0") * 101 + b"\xff\xd9", id="jpeg with 101 scans"),
        pytest.param(webp_of(vp8x(2**24, 2**24)), id="webp 16777216 x 16777216"),
        pytest.param(webp_of(riff_chunk(b"VP8L", b"\x2f\xff\xff\xff\x0f")), id="lossless webp 16384 x 16384"),
        pytest.param(
            webp_of(riff_chunk(b"VP8 ", b"\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f")), id="lossy webp 16383 x 16383"
        ),
    ],
)
def test_a_picture_with_too_many_pixels_is_refused(data: bytes) -> None:
    assert code_of(data) == errors.GIF_TOO_MANY_PIXELS


def test_an_apng_with_too_many_frames_is_refused() -> None:
    frame = struct.pack(">IIIIHHBB", 1, 1, 0, 0, 1, 10, 0, 0)
    chunks = [PNG_START, ihdr(1, 1), png_chunk(b"acTL", struct.pack(">II", 2_000, 0)), png_chunk(b"IDAT", b"x")]
    for index in range(2_000):
        chunks.append(png_chunk(b"fcTL", struct.pack(">I", index * 2) + frame))
        chunks.append(png_chunk(b"fdAT", struct.pack(">I", index * 2 + 1) + b"x"))
    assert code_of(b"".join((*chunks, png_chunk(b"IEND", b"")))) == errors.GIF_TOO_MANY_PIXELS


def test_a_webp_with_too_many_frames_is_refused() -> None:
    frame = riff_chunk(b"ANMF", bytes(16) + riff_chunk(b"VP8L", b"\x2f\0\0\0\0"))
    assert code_of(webp_of(vp8x(1, 1, flags=2), *[frame] * 1_000)) is None
    assert code_of(webp_of(vp8x(1, 1, flags=2), *[frame] * 1_001)) == errors.GIF_TOO_MANY_PIXELS


def test_a_picture_at_the_limits_is_accepted() -> None:
    assert code_of(GIF_START + GIF_FRAME * limits.GIF_MAX_FRAMES + b";") is None
    assert code_of(picture("png", limits.GIF_MAX_SIDE, limits.GIF_MAX_SIDE)) is None
    assert code_of(picture("png", limits.GIF_MAX_SIDE + 1, 1)) == errors.GIF_TOO_MANY_PIXELS


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(GIF_START + b";", id="gif without a frame"),
        pytest.param(GIF_START + b"\x2c\0\0\0\0\0\0\0\0\0\2\0;", id="gif with an empty frame"),
        pytest.param(GIF_START + b"\x21\xf9\3\0\0\0\0" + GIF_FRAME + b";", id="gif with a short graphic control"),
        pytest.param(GIF_START + b"\x99" + GIF_FRAME + b";", id="gif with an unknown block"),
        pytest.param(PNG_START + png_chunk(b"IDAT", b""), id="png without a header"),
        pytest.param(PNG_START + ihdr(0, 1), id="png 0 x 1"),
        pytest.param(PNG_START + ihdr(1, 1) + png_chunk(b"IEND", b""), id="png without pixels"),
        pytest.param(PNG_START + ihdr(1, 1) * 2, id="png with two headers"),
        pytest.param(PNG_START + ihdr(1, 1) + png_chunk(b"CgBI", b""), id="png that only Apple reads"),
        pytest.param(picture("png").replace(b"IDAT", b"IDAS", 1), id="png with a wrong checksum"),
        pytest.param(b"\xff\xd8\xff\xd9", id="empty jpeg"),
        pytest.param(b"\xff\xd8" + JPEG_FRAME * 2, id="jpeg with two frames"),
        pytest.param(b"\xff\xd8" + JPEG_SCAN, id="jpeg with a scan before its frame"),
        pytest.param(b"\xff\xd8" + b"\xff\xc9" + JPEG_FRAME[2:], id="arithmetic jpeg"),
        pytest.param(b"\xff\xd8\xff\xfe\0\1", id="jpeg with a segment of length 1"),
        pytest.param(webp_of(riff_chunk(b"JUNK", b"")), id="webp without pixels"),
        pytest.param(webp_of(vp8x(1, 1)), id="extended webp without pixels"),
        pytest.param(webp_of(vp8x(2, 2), riff_chunk(b"VP8L", b"\x2f\0\0\0\0")), id="webp with pixels of another size"),
        pytest.param(webp_of(vp8x(1, 1), riff_chunk(b"ANMF", bytes(16))), id="webp with a frame but no animation flag"),
        pytest.param(webp_of(vp8x(1, 1, flags=2), riff_chunk(b"ANMF", bytes(16))), id="webp with an empty frame"),
        pytest.param(b"RIFF\xff\xff\xff\xffWEBP", id="webp shorter than declared"),
    ],
)
def test_a_broken_picture_is_refused(data: bytes) -> None:
    assert code_of(data) == errors.GIF_BROKEN


@pytest.mark.parametrize("extension", ["gif", "png", "jpg", "webp"])
@pytest.mark.parametrize("frames", [1, 3])
def test_a_picture_truncated_at_any_byte_is_refused_or_mended(extension: str, frames: int) -> None:
    data = picture(extension, frames=1 if extension == "jpg" else frames)
    whole = examine(data)
    for length in range(len(data)):
        found = examined(data[:length])
        if found is None:
            assert length < len(data) // 2 or extension == "jpg", f"{length} of {len(data)} bytes"
            continue
        assert (found.width, found.height) == (whole.width, whole.height)
        assert found.frames <= whole.frames
        again = examine(found.data)
        assert (again.data, again.frames) == (found.data, found.frames)


SLOW = {
    "gif of tiny sub-blocks": GIF_START + b"\x21\xfe" + b"\1x" * (TEN_MIB // 2),
    "gif of empty comments": GIF_START + b"\x21\xfe\0" * (TEN_MIB // 3),
    "gif of empty frames": GIF_START + GIF_FRAME * (TEN_MIB // 12),
    "gif of NULs": GIF_START + GIF_FRAME + bytes(TEN_MIB),
    "jpeg of fill bytes": b"\xff\xd8" + b"\xff" * TEN_MIB,
    "jpeg of empty comments": b"\xff\xd8" + b"\xff\xfe\0\2" * (TEN_MIB // 4),
    "jpeg scan of stuffed bytes": b"\xff\xd8" + JPEG_FRAME + JPEG_SCAN + b"\xff\0" * (TEN_MIB // 2),
    "jpeg scan of fill bytes": b"\xff\xd8" + JPEG_FRAME + JPEG_SCAN + b"\xff" * TEN_MIB + b"\0",
    "png of empty texts": PNG_START + ihdr(1, 1) + png_chunk(b"tEXt", b"") * (TEN_MIB // 12),
    "webp of empty chunks": webp_of(vp8x(1, 1), riff_chunk(b"JUNK", b"") * (TEN_MIB // 8)),
}


@pytest.mark.parametrize("data", SLOW.values(), ids=SLOW.keys())
def test_a_hostile_10_mib_file_takes_bounded_time(data: bytes) -> None:
    started = time.process_time()
    examined(data)
    assert time.process_time() - started < 6.0


def examined(data: bytes) -> Picture | None:
    """Return the picture, or None if it is refused with a documented code. Any other error fails the test."""
    try:
        return examine(data)
    except Refused as refused:
        if refused.code in CODES:
            return None
        raise


STARTS = (
    b"GIF89a",
    PNG_START,
    PNG_START + ihdr(9, 9),
    b"\xff\xd8\xff",
    b"\xff\xd8" + JPEG_FRAME,
    b"RIFF\xff\0\0\0WEBP",
)


@given(st.sampled_from(STARTS), st.binary(max_size=400))
def test_any_bytes_after_a_signature_are_handled(start: bytes, rest: bytes) -> None:
    examined(start + rest)


@given(st.binary(max_size=200))
def test_any_bytes_are_handled(data: bytes) -> None:
    examined(data)


SAMPLES = (
    *(picture(extension, 12, 10, frames) for extension in ("gif", "png", "webp") for frames in (1, 3)),
    picture("jpg", 12, 10),
    picture("jpg", 12, 10, progressive=True),
)


@given(
    st.sampled_from(SAMPLES),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6),
    st.tuples(st.integers(0, 10_000), st.integers(0, 40)),
)
@example(SAMPLES[0], [], (0, 0))
def test_a_damaged_picture_is_refused_or_cleaned(
    sample: bytes, changes: list[tuple[int, int]], cut: tuple[int, int]
) -> None:
    damaged = bytearray(sample)
    for at, value in changes:
        damaged[at % len(damaged)] = value
    start = cut[0] % len(damaged)
    del damaged[start : start + cut[1]]
    found = examined(bytes(damaged))
    if found is not None:
        again = examine(found.data)
        assert (again.data, again.frames) == (found.data, found.frames)
        assert 0 < found.width <= limits.GIF_MAX_SIDE
        assert 0 < found.height <= limits.GIF_MAX_SIDE
        assert 0 < found.frames <= limits.GIF_MAX_FRAMES


def test_the_undamaged_samples_are_accepted() -> None:
    assert [code_of(sample) for sample in SAMPLES] == [None] * len(SAMPLES)
