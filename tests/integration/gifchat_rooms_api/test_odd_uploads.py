"""Damaged and odd pictures through the real decoder: repaired, clean, and with the right still."""

import json
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image, ImageFile

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_rooms_api.adapters.image_decoder import ImageDecoder
from gifchat_rooms_api.domain.gif import Picture, examine
from gifchat_testkit.odd_pictures import NOTHING_TO_SEE, SCRIPT, odd_pictures, png_chunks, png_of
from gifchat_testkit.pictures import picture, pixels

from .conftest import Api

CASES = Path(__file__).parents[2] / "unit" / "gifchat_rooms_api" / "pictures"
EXPECTED: dict[str, dict[str, Any]] = json.loads((CASES / "expected.json").read_text())
ODD = {name: data for name, data in odd_pictures().items() if NOTHING_TO_SEE.get(name) != "container"}
ADDRESS = "192.0.2.1"


async def stored(data: bytes) -> tuple[Picture, bytes]:
    """Return the picture to store, and its still."""
    found = examine(data)
    decoded = await ImageDecoder().decode(found, ADDRESS)
    return found if decoded.repaired is None else examine(decoded.repaired), decoded.still


def alpha(still: bytes, at: tuple[int, int]) -> int:
    with Image.open(BytesIO(still)) as image:
        value = image.convert("RGBA").getpixel(at)
    assert isinstance(value, tuple)
    return int(value[3])


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_picture_is_repaired_or_refused(name: str) -> None:
    if name in NOTHING_TO_SEE:
        with pytest.raises(Refused) as caught:
            await stored(ODD[name])
        assert caught.value.code is errors.GIF_BROKEN
        return
    clean, still = await stored(ODD[name])
    again = await ImageDecoder().decode(clean, ADDRESS)
    assert clean.is_final
    assert again.repaired is None, "the stored file needs no second repair"
    assert again.still == still or examine(ODD[name]).encode_again, "JPEG and WebP change a little"
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    assert len(pixels(clean.data)) >= clean.frames
    if name != "gif-surplus-lzw":
        assert SCRIPT not in clean.data


async def test_a_frame_that_sticks_out_is_cropped() -> None:
    clean, _ = await stored(ODD["gif-second-frame-sticks-out"])
    with Image.open(BytesIO(clean.data)) as image:
        image.seek(1)
        shown = image.convert("RGB")
    assert shown.size == (30, 20)
    assert shown.getpixel((29, 19)) == (0, 0, 200)
    assert shown.getpixel((19, 9)) == (200, 0, 0)


async def test_missing_pixels_of_a_gif_are_transparent() -> None:
    whole = pixels(picture("gif", 60, 40))[0]
    clean, _ = await stored(ODD["gif-truncated-first-frame"])
    (found,) = pixels(clean.data)
    first_row = slice(60 * 4)
    assert found[first_row] == whole[first_row]
    assert found[-1] == 0


@pytest.mark.parametrize("name", ["png-surplus-behind-stream", "png-surplus-rows", "png-surplus-chunk", "png-no-adler"])
async def test_surplus_data_behind_the_pixels_is_dropped(name: str) -> None:
    clean, _ = await stored(ODD[name])
    assert pixels(clean.data) == pixels(picture("png", 40, 30))
    assert len(clean.data) < 1_000


async def test_surplus_data_behind_the_pixels_of_a_frame_is_dropped() -> None:
    clean, _ = await stored(ODD["png-apng-surplus-fdat"])
    assert pixels(clean.data) == pixels(ODD["png-apng"])


@pytest.mark.parametrize(
    "name", ["gif-no-trailer", "gif-nul-between-frames", "jpg-junk-before-dqt", "png-text-bad-crc"]
)
async def test_a_picture_whose_container_alone_is_damaged_keeps_its_pixels(name: str) -> None:
    original = {
        "gif": picture("gif", 60, 40, frames=3, loop=0),
        "jpg": picture("jpg", 64, 48),
        "png": picture("png", 40, 30),
    }[name[:3]]
    clean, _ = await stored(ODD[name])
    assert pixels(clean.data) == pixels(original)


async def test_the_still_of_a_first_frame_smaller_than_the_screen_is_transparent_around_it() -> None:
    _, still = await stored(ODD["gif-first-frame-partial"])
    assert [alpha(still, at) for at in ((0, 0), (6, 6), (14, 12), (15, 13))] == [0, 255, 255, 0]


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
async def test_a_transparent_grey_is_transparent_in_the_still(depth: int) -> None:
    top = 2**depth - 1
    rows = {
        1: b"\x00\x40",  # 0, 1
        2: b"\x00\xd0",  # 3, 1
        4: b"\x00\xf3",  # 15, 3
        8: b"\x00\xff\x03",
        16: b"\x00\xff\xff\xff\x03",
    }
    chosen = 1 if depth <= 2 else 3 if depth < 16 else 0xFF03
    header = (2).to_bytes(4) + (1).to_bytes(4) + bytes((depth, 0, 0, 0, 0))
    data = png_of(
        [(b"IHDR", header), (b"tRNS", chosen.to_bytes(2)), (b"IDAT", zlib.compress(rows[depth])), (b"IEND", b"")]
    )
    _, still = await stored(data)
    assert [alpha(still, (0, 0)), alpha(still, (1, 0))] == [255, 0], top


async def test_a_transparency_before_the_palette_is_ignored_as_in_browsers() -> None:
    clean, still = await stored(ODD["png-trns-before-plte"])
    assert b"tRNS" not in clean.data
    assert alpha(still, (0, 0)) == 255


async def test_the_still_has_the_gamma_of_its_picture() -> None:
    _, still = await stored(ODD["png-gamma"])
    assert dict(png_chunks(still))[b"gAMA"] == (100_000).to_bytes(4)


async def test_the_still_of_an_apng_is_its_first_frame_and_not_the_default_picture() -> None:
    data = ODD["png-apng-default-image"]
    _, still = await stored(data)
    assert pixels(still)[0] == pixels(data)[1] != pixels(data)[0]


@pytest.mark.servers
@pytest.mark.parametrize("name", EXPECTED)
async def test_a_picture_gets_its_right_answer(api: Api, name: str) -> None:
    anne = await api.user("anne")
    site: httpx.AsyncClient = await api.client("http://test")
    room, expected = await anne.room(), EXPECTED[name]
    answer = await anne.http.post(f"/rooms/{room['_id']}/gifs", files={"gif": (name, (CASES / name).read_bytes())})
    assert answer.status_code == expected["status"], answer.text
    if expected["status"] != 201:
        assert answer.json()["code"] == "gif_broken"
        return
    gif = answer.json()
    for field in ("width", "height", "frames"):
        assert gif[field] == expected.get(field, gif[field])
    served = (await site.get(gif["url"])).content
    assert examine(served).data == served
    assert len(pixels(served)) == gif["frames"]
    still = (await site.get(gif["still_url"])).content
    for x, y, value in expected.get("still_alpha_at", []):
        assert alpha(still, (x, y)) == value


@pytest.mark.servers
@pytest.mark.parametrize(
    "start", [b"\0\0\0\x1cftypavif", b"\0\0\0\x18ftypheic", b"<svg xmlns='http://www.w3.org/2000/svg'/>"]
)
async def test_avif_heic_and_svg_are_refused_with_a_sentence_that_names_them(api: Api, start: bytes) -> None:
    anne = await api.user("anne")
    room = await anne.room()
    answer = await anne.http.post(
        f"/rooms/{room['_id']}/gifs", files={"gif": start + bytes(100)}, headers={"accept-language": "en"}
    )
    assert (answer.status_code, answer.json()["code"]) == (415, "gif_wrong_type")
    assert all(name in answer.json()["title"] for name in ("AVIF", "HEIC", "SVG"))
