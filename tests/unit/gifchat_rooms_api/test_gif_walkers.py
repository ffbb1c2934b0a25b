"""The walkers against Pillow: what they measure, what they drop, and that the pixels stay the same."""

import struct
from io import BytesIO
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from gifchat_rooms_api.domain.gif import Format, examine, format_of
from gifchat_testkit.pictures import exif_with_orientation, picture, pixels, png_chunk, riff_chunk, webp_of

SECRET = b"Seoul, 37.5665 N"


def png_info() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", SECRET.decode())
    info.add_itxt("Title", SECRET.decode())
    info.add_text("Zipped", "x" * 500, zip=True)
    return info


PROFILE = b"a colour profile that nobody looks into" * 3

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "gif": ("gif", {}),
    "gif of many frames": ("gif", {"frames": 7, "loop": 0}),
    "gif with a comment": ("gif", {"frames": 2, "comment": SECRET}),
    "gif with local colour tables": ("gif", {"frames": 3, "disposal": 2, "optimize": False}),
    "interlaced gif": ("gif", {"interlace": True, "width": 33, "height": 65}),
    "png": ("png", {}),
    "png with texts": ("png", {"pnginfo": png_info(), "exif": exif_with_orientation(1)}),
    "png with a profile": ("png", {"icc_profile": PROFILE}),
    "apng": ("png", {"frames": 5}),
    "apng with a default image": ("png", {"frames": 4, "default_image": True}),
    "jpeg": ("jpg", {}),
    "progressive jpeg": ("jpg", {"progressive": True, "width": 200, "height": 120}),
    "jpeg with metadata": ("jpg", {"exif": exif_with_orientation(1), "comment": SECRET, "icc_profile": PROFILE}),
    "jpeg with restarts": ("jpg", {"restart_marker_rows": 1, "width": 200, "height": 120}),
    "lossy webp": ("webp", {"quality": 70}),
    "lossless webp": ("webp", {"lossless": True}),
    "webp with metadata": ("webp", {"exif": exif_with_orientation(1), "xmp": SECRET, "icc_profile": PROFILE}),
    "animated webp": ("webp", {"frames": 4}),
    "animated webp with metadata": ("webp", {"frames": 3, "lossless": True, "xmp": SECRET}),
}


@pytest.fixture(params=CASES, ids=str)
def sample(request: pytest.FixtureRequest) -> tuple[str, bytes]:
    extension, options = CASES[request.param]
    return extension, picture(extension, **options)


def test_a_walker_measures_the_same_as_pillow(sample: tuple[str, bytes]) -> None:
    extension, data = sample
    found = examine(data)
    with Image.open(BytesIO(data)) as image:
        assert (found.width, found.height) == image.size
        assert found.frames == getattr(image, "n_frames", 1) - bool(image.info.get("default_image"))
    assert found.format is Format(extension)


def test_cleaning_removes_metadata_and_keeps_the_pixels(sample: tuple[str, bytes]) -> None:
    _, data = sample
    clean = examine(data).data
    assert pixels(clean) == pixels(data)
    for secret in (SECRET, b"photographer", b"Exif", b"eXIf", b"XMP"):
        assert secret not in clean


def test_cleaning_is_idempotent(sample: tuple[str, bytes]) -> None:
    clean = examine(sample[1]).data
    assert examine(clean).data == clean


def test_durations_and_loop_count_are_kept() -> None:
    for extension in ("gif", "png", "webp"):
        data = picture(extension, frames=3, loop=2)
        with Image.open(BytesIO(data)) as before, Image.open(BytesIO(examine(data).data)) as after:
            for index in range(3):
                before.seek(index)
                after.seek(index)
                assert after.info.get("duration") == before.info.get("duration")
            assert after.info.get("loop") == before.info.get("loop") is not None


@pytest.mark.parametrize("extension", ["png", "jpg", "webp"])
def test_the_colour_profile_is_kept(extension: str) -> None:
    with Image.open(BytesIO(examine(picture(extension, icc_profile=PROFILE)).data)) as image:
        assert image.info["icc_profile"] == PROFILE


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", ["png", "jpg", "webp"])
def test_the_orientation_is_reported_although_exif_data_is_removed(extension: str, orientation: int) -> None:
    assert examine(picture(extension, exif=exif_with_orientation(orientation))).orientation == orientation


@pytest.mark.parametrize("value", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff", b"??*\0" * 9])
def test_unreadable_exif_data_means_no_rotation(value: bytes) -> None:
    data = picture("jpg", exif=b"Exif\0\0" + value)
    assert examine(data).orientation == 1


@pytest.mark.parametrize("polyglot", [b"<script>alert(1)</script>", b"PK\x05\x06" + bytes(18), b"*/=1;alert(1)//"])
@pytest.mark.parametrize("extension", ["gif", "png", "jpg", "webp"])
def test_bytes_after_the_end_are_removed(extension: str, polyglot: bytes) -> None:
    data = picture(extension)
    assert examine(data + polyglot).data == examine(data).data


SCRIPT = b"<script>alert(1)</script>"


@pytest.mark.parametrize("label", [b"\xff", b"\xfe", b"\x01", b"\x42"])
def test_a_script_in_a_gif_extension_is_removed(label: bytes) -> None:
    gif = picture("gif")
    behind_color_table = 13 + (3 << ((gif[10] & 7) + 1))
    block = b"\x21" + label + b"\x0bAnyAnyAny12" + bytes([len(SCRIPT)]) + SCRIPT + b"\0"
    cleaned = examine(gif[:behind_color_table] + block + gif[behind_color_table:]).data
    assert SCRIPT not in cleaned
    assert pixels(cleaned) == pixels(gif)


def test_a_script_after_the_loop_count_of_a_gif_is_removed() -> None:
    gif = picture("gif", frames=2, loop=3)
    behind_loop = gif.index(b"NETSCAPE2.0\x03\x01") + 11 + 4
    cleaned = examine(gif[:behind_loop] + bytes([len(SCRIPT)]) + SCRIPT + gif[behind_loop:]).data
    assert cleaned == examine(gif).data


def test_a_script_in_an_unknown_block_is_removed() -> None:
    png, jpg, webp = picture("png"), picture("jpg"), picture("webp")
    segment = b"\xff\xef" + struct.pack(">H", len(SCRIPT) + 2) + SCRIPT
    assert examine(png[:33] + png_chunk(b"maLl", SCRIPT) + png[33:]).data == png
    assert examine(jpg[:2] + segment + jpg[2:]).data == jpg
    assert examine(webp_of(webp[12:], riff_chunk(b"JUNK", SCRIPT))).data == webp


def test_a_thumbnail_in_jfif_is_removed() -> None:
    jpg = picture("jpg")
    content = jpg[6:20][:12] + b"\x02\x01" + b"\x01\x02\x03\x04\x05\x06"
    with_thumbnail = jpg[:2] + b"\xff\xe0" + struct.pack(">H", len(content) + 2) + content + jpg[20:]
    assert pixels(with_thumbnail) == pixels(jpg)
    assert examine(with_thumbnail).data == jpg


def test_a_frame_larger_than_the_screen_enlarges_the_gif() -> None:
    data = bytearray(picture("gif", width=40, height=30))
    data[6:10] = struct.pack("<HH", 10, 10)
    with Image.open(BytesIO(bytes(data))) as image:
        assert image.size == (40, 30)
    found = examine(bytes(data))
    assert (found.width, found.height) == (40, 30)


@pytest.mark.parametrize(
    "data", [b"", b"GIF", b"GIF88a" + bytes(20), b"<svg/>", b"BM" + bytes(60), b"RIFF\0\0\0\0WAVE", b"\xff\xd8\xfe"]
)
def test_an_unknown_signature_has_no_format(data: bytes) -> None:
    assert format_of(data) is None
