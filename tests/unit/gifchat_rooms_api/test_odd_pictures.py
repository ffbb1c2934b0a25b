"""Damaged and odd pictures, before they are decoded: which are refused, and how the others are mended.

`tests/e2e/test_odd_pictures.py` compares this table with Chromium.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from gifchat_contracts import errors, limits
from gifchat_contracts.errors import Refused
from gifchat_rooms_api.domain.gif import examine
from gifchat_testkit.odd_pictures import NOTHING_TO_SEE, SCRIPT, control, flat, gif_frame, gif_of, odd_pictures
from gifchat_testkit.pictures import picture

CASES = Path(__file__).parent / "pictures"
EXPECTED: dict[str, dict[str, Any]] = json.loads((CASES / "expected.json").read_text())
ODD = odd_pictures()

SIZES = {
    "gif-screen-0": (30, 20),
    "gif-first-frame-larger": (30, 20),
    "gif-first-frame-sticks-out": (40, 25),
    "gif-first-frame-outside": (50, 38),
    "gif-second-frame-sticks-out": (30, 20),
    "gif-second-frame-outside": (30, 20),
}
FRAMES = {
    "gif-no-trailer": 3,
    "gif-nul-before-trailer": 3,
    "gif-nul-between-frames": 3,
    "gif-junk-between-frames": 1,
    "gif-truncated-last-frame": 2,
    "gif-truncated-first-frame": 1,
    "gif-truncated-control": 3,
    "gif-second-frame-sticks-out": 2,
    "gif-second-frame-outside": 3,
    "gif-empty-second-frame": 3,
    "png-apng": 3,
    "png-apng-default-image": 2,
    "png-apng-actl-only": 1,
    "png-apng-fctl-only": 1,
    "png-apng-actl-bad-crc": 1,
    "png-apng-declares-more": 3,
    "png-apng-declares-fewer": 2,
    "png-apng-second-fctl-outside": 1,
    "png-apng-bad-sequence": 1,
    "png-apng-truncated": 2,
    "png-apng-no-iend": 3,
    "webp-moving-riff-8-more": 3,
    "webp-moving-truncated": 1,
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_picture_is_refused_or_gets_a_container_without_errors(name: str) -> None:
    if NOTHING_TO_SEE.get(name) == "container":
        with pytest.raises(Refused) as caught:
            examine(ODD[name])
        assert caught.value.code is errors.GIF_BROKEN
        return
    found = examine(ODD[name])
    assert (found.width, found.height) == SIZES.get(name, (found.width, found.height))
    assert found.frames == FRAMES.get(name, found.frames)
    assert SCRIPT not in found.data or "surplus" in name, "only the decoder sees what follows the pixels"
    again = examine(found.data)
    assert (again.data, again.width, again.height, again.frames) == (
        found.data,
        found.width,
        found.height,
        found.frames,
    )


def test_the_tables_name_pictures_that_exist() -> None:
    assert {*SIZES, *FRAMES, *NOTHING_TO_SEE} <= set(ODD)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_picture_that_a_browser_shows_is_accepted(name: str) -> None:
    data, expected = (CASES / name).read_bytes(), EXPECTED[name]
    if expected["status"] != 201:
        with pytest.raises(Refused) as caught:
            examine(data)
        assert caught.value.code.status == expected["status"]
        return
    found = examine(data)
    for field in ("width", "height", "frames"):
        assert getattr(found, field) == expected.get(field, getattr(found, field))


def test_a_frame_larger_than_its_canvas_counts_as_large_as_it_is() -> None:
    small, large = flat(8, 8, (200, 0, 0)), flat(500, 400, (0, 0, 200))
    found = examine(gif_of(8, 8, gif_frame(0, 0, small), gif_frame(0, 0, large, control=control())))
    assert (found.width, found.height) == (8, 8)
    assert found.decoded_pixels == 8 * 8 + 500 * 400


def test_a_jpeg_of_many_scans_costs_more() -> None:
    jpg = picture("jpg", 64, 48, progressive=True)
    last_scan = jpg[jpg.rindex(b"\xff\xda") : -2]
    assert examine(jpg).decoded_pixels == 64 * 48
    assert examine(jpg[:-2] + last_scan * 80 + jpg[-2:]).decoded_pixels >= 4 * 64 * 48


def test_a_long_animation_of_a_large_screen_is_accepted() -> None:
    frame = gif_frame(0, 0, flat(1080, 1080, (200, 0, 0)))
    found = examine(gif_of(1080, 1080, *[frame] * 180))
    assert (found.frames, found.decoded_pixels) == (180, 1080 * 1080 * 180)


@pytest.mark.parametrize("language", ["ko", "en"])
def test_the_sentence_states_the_limits(language: Any) -> None:
    sentence = errors.GIF_TOO_MANY_PIXELS.text(language).replace(",", "")
    for limit in (limits.GIF_MAX_SIDE, limits.GIF_MAX_FRAMES):
        assert str(limit) in sentence
    millions = limits.GIF_MAX_TOTAL_PIXELS // 1_000_000
    assert f"{millions} million" in sentence or f"{millions // 100}억 {millions % 100 * 100}만" in sentence
