"""We accept the damaged and odd pictures that Chromium shows, and it shows what we store completely."""

import asyncio
import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route, expect

from gifchat_contracts.errors import Refused
from gifchat_rooms_api.adapters.image_decoder import ImageDecoder
from gifchat_rooms_api.domain.gif import Picture, examine
from gifchat_testkit.browser import CHROMIUM, Windows
from gifchat_testkit.odd_pictures import NOTHING_TO_SEE, odd_pictures
from gifchat_testkit.pictures import picture

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

CASES = Path(__file__).parents[1] / "unit" / "gifchat_rooms_api" / "pictures"
EXPECTED: dict[str, dict[str, Any]] = json.loads((CASES / "expected.json").read_text())
TYPES = {"gif": "image/gif", "png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
ADDRESS = "192.0.2.1"
PARTIAL = re.compile(
    r"truncated|no-data|missing-rows|bad-code-size|text-between-idats|arithmetic|riff-\d+-more|actl-only|fctl-bad-crc"
    r"|jpg-no-eoi|jpg-nul-for-eoi|-case-"
)
"""Chromium may show only a part of these, or nothing once loaded. A repaired picture may show more, but not less."""
NOT_SHOWN_IN_PART = {"webp-lossless-truncated"}

SHOW = """async ([data, type]) => {
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  const image = new Image();
  const loaded = await new Promise((resolve) => {
    image.onload = () => resolve(true);
    image.onerror = () => resolve(false);
    image.src = URL.createObjectURL(new Blob([bytes], { type }));
  });
  const shown = { loaded, width: image.naturalWidth, height: image.naturalHeight, frames: 0, pixels: "", visible: 0 };
  if (!loaded) return shown;
  const canvas = new OffscreenCanvas(shown.width, shown.height).getContext("2d");
  canvas.drawImage(image, 0, 0);
  const { data: pixels } = canvas.getImageData(0, 0, shown.width, shown.height);
  shown.pixels = btoa(Array.from(pixels, (value) => String.fromCharCode(value)).join(""));
  shown.visible = pixels.filter((value, index) => index % 4 === 3 && value > 0).length;
  try {
    const decoder = new ImageDecoder({ data: bytes, type });
    await decoder.completed;
    await decoder.tracks.ready;
    const { frameCount } = decoder.tracks.selectedTrack;
    for (; shown.frames < frameCount; shown.frames++) {
      (await decoder.decode({ frameIndex: shown.frames })).image.close();
    }
  } catch (error) {
    shown.error = String(error);
  }
  return shown;
}"""


async def blank(route: Route) -> None:
    await route.fulfill(body="<p>", content_type="text/html")


async def show(page: Page, name: str, data: bytes) -> dict[str, Any]:
    """Show a picture. Its `frames` are those that decode completely."""
    content_type = TYPES[name.partition("-")[0]]
    shown: dict[str, Any] = await page.evaluate(SHOW, [base64.b64encode(data).decode(), content_type])
    return shown


async def stored(data: bytes) -> tuple[Picture, bytes] | None:
    """Return what is stored of an upload and its still, or None if it is refused."""
    try:
        found = examine(data)
        decoded = await ImageDecoder().decode(found, ADDRESS)
    except Refused:
        return None
    return found if decoded.repaired is None else examine(decoded.repaired), decoded.still


def differing(first: str, second: str) -> float:
    """Return the share of the pixels visible in `first` that clearly differ in `second`."""
    one, other = base64.b64decode(first), base64.b64decode(second)
    visible = [at for at in range(0, len(one), 4) if one[at + 3] > 0]
    differ = [at for at in visible if any(abs(one[at + band] - other[at + band]) > 40 for band in range(4))]
    return len(differ) / max(1, len(visible))


async def test_odd_pictures_are_taken_if_chromium_shows_them_and_look_the_same(browser: Browser) -> None:
    page = await browser.new_page()
    await page.route("**/*", blank)
    await page.goto("http://localhost:1/")
    wrong = []
    files = odd_pictures() | {f"{name.partition('-')[0]}-case-{name}": (CASES / name).read_bytes() for name in EXPECTED}
    files = {name.replace("apng-case", "png-case"): data for name, data in files.items()}
    for name, data in files.items():
        original, taken = await asyncio.gather(show(page, name, data), stored(data))
        if taken is None:
            if original["visible"] and name not in NOT_SHOWN_IN_PART:
                wrong.append(f"{name}: refused, but Chromium shows it")
            continue
        clean, still_data = taken
        ours, still = await show(page, name, clean.data), await show(page, "png", still_data)
        if not original["loaded"] or name in NOTHING_TO_SEE:
            wrong.append(f"{name}: taken, but Chromium shows nothing")
        elif (ours["width"], ours["height"]) != (original["width"], original["height"]):
            wrong.append(f"{name}: {ours['width']} x {ours['height']}, not {original['width']} x {original['height']}")
        elif (ours["width"], ours["height"], ours["frames"]) != (clean.width, clean.height, clean.frames):
            wrong.append(f"{name}: {clean.frames} frames, but Chromium decodes {ours['frames']} of the stored file")
        elif share := differing(original["pixels"], ours["pixels"]):
            wrong.append(f"{name}: {share:.1%} of the pixels differ")
        elif original["visible"] != ours["visible"] and not PARTIAL.search(name):
            wrong.append(f"{name}: {ours['visible']} pixels are visible, not {original['visible']}")
        elif (still["visible"], differing(ours["pixels"], still["pixels"])) != (ours["visible"], 0.0):
            wrong.append(f"{name}: the still differs from the first frame")
    await page.close()
    assert not wrong, "\n".join(wrong)


@pytest.mark.cluster
async def test_an_apng_obeys_reduced_motion_and_a_still_picture_has_no_button(windows: Windows) -> None:
    alice = await windows.open()
    await alice.page.emulate_media(reduced_motion="reduce")
    await alice.create_room("움직이는 PNG")
    image, button = alice.page.locator(".message.sent .gif img"), alice.page.locator(".message.sent .gif-toggle")

    await alice.pick_gif(picture("png", 120, 80, frames=4), "cat.png", "image/png")
    await expect(image).to_have_attribute("src", re.compile(r"\.still\.png$"))
    await expect(button).to_have_attribute("data-playing", "false")
    await button.click()
    await expect(image).to_have_attribute("src", re.compile(r"[0-9a-f]{64}\.png$"))
    await expect(button).to_have_attribute("data-playing", "true")

    for extension, mime_type in (("png", "image/png"), ("gif", "image/gif"), ("webp", "image/webp")):
        await alice.pick_gif(picture(extension, 120, 80), f"cat.{extension}", mime_type)
        await expect(image.last).to_have_attribute("src", re.compile(rf"[0-9a-f]{{64}}\.{extension}$"))
    await expect(image).to_have_count(4)
    await expect(button).to_have_count(1)
