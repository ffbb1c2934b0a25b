"""The decoder with its real child: results, resource limits, and killed children."""

import asyncio
import os
import signal
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_rooms_api.adapters.image_decoder import DecoderLimits, ImageDecoder
from gifchat_rooms_api.domain.gif import STILL_MAX_SIDE, Picture, examine
from gifchat_testkit.pictures import exif_with_orientation, picture, pixels, png_chunk

DEADLINE_S = 20.0
ADDRESS = "192.0.2.1"


@pytest.fixture
def decoder() -> ImageDecoder:
    return ImageDecoder()


async def refusal(decoder: ImageDecoder, wanted: Picture) -> errors.ErrorCode:
    with pytest.raises(Refused) as caught:
        await decoder.decode(wanted, ADDRESS)
    return caught.value.code


def pretending(body: str, **limits: float) -> ImageDecoder:
    """Return a decoder whose child process runs the Python code `body`."""
    return ImageDecoder(
        replace(DecoderLimits(), **limits),  # type: ignore[arg-type]
        command=(sys.executable, "-I", "-c", f"import os, sys, time\n{body}"),
    )


@pytest.mark.parametrize(
    ("extension", "frames"), [("gif", 1), ("gif", 5), ("png", 1), ("png", 3), ("jpg", 1), ("webp", 1), ("webp", 4)]
)
async def test_the_still_is_the_first_frame(decoder: ImageDecoder, extension: str, frames: int) -> None:
    data = picture(extension, frames=frames)
    decoded = await decoder.decode(examine(data), ADDRESS)
    assert decoded.repaired is None
    assert pixels(decoded.still) == pixels(data)[:1]


@pytest.mark.parametrize(
    ("sides", "small"), [((1200, 600), (480, 240)), ((10, 2000), (2, 480)), ((480, 480), (480, 480))]
)
async def test_the_still_is_small(decoder: ImageDecoder, sides: tuple[int, int], small: tuple[int, int]) -> None:
    decoded = await decoder.decode(examine(picture("png", *sides)), ADDRESS)
    with Image.open(BytesIO(decoded.still)) as still:
        assert still.size == small
        assert max(still.size) <= STILL_MAX_SIDE


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
async def test_every_kind_of_png_gets_a_still(decoder: ImageDecoder, mode: str) -> None:
    image = (
        Image.new("I;16", (20, 10), 0x8000) if mode == "I;16" else Image.new("RGBA", (20, 10), "#808080").convert(mode)
    )
    out = BytesIO()
    image.save(out, "PNG")
    decoded = await decoder.decode(examine(out.getvalue()), ADDRESS)
    with Image.open(BytesIO(decoded.still)) as still:
        grey = still.convert("L").resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    assert isinstance(grey, int)
    assert 126 <= grey <= 130


async def test_a_cmyk_jpeg_gets_a_still(decoder: ImageDecoder) -> None:
    out = BytesIO()
    Image.new("CMYK", (20, 10), (0, 255, 255, 0)).save(out, "JPEG")
    decoded = await decoder.decode(examine(out.getvalue()), ADDRESS)
    red, green, blue, _ = pixels(decoded.still)[0][:4]
    assert red > 200 > 60 > max(green, blue)


async def test_transparency_shows_in_the_still(decoder: ImageDecoder) -> None:
    out = BytesIO()
    Image.new("RGBA", (20, 10), (255, 0, 0, 0)).save(out, "WEBP", lossless=True)
    decoded = await decoder.decode(examine(out.getvalue()), ADDRESS)
    assert pixels(decoded.still)[0][3] == 0


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize(
    ("extension", "options"), [("jpg", {}), ("png", {}), ("webp", {"lossless": True}), ("webp", {})]
)
async def test_a_rotated_picture_is_stored_upright(
    decoder: ImageDecoder, extension: str, options: dict[str, bool], orientation: int
) -> None:
    from PIL import ImageOps  # noqa: PLC0415 - the oracle of this test alone

    data = picture(extension, exif=exif_with_orientation(orientation), **options)
    decoded = await decoder.decode(examine(data), ADDRESS)
    assert decoded.repaired is not None
    upright = examine(decoded.repaired)
    assert upright.orientation == 1
    assert upright.format == examine(data).format
    with Image.open(BytesIO(data)) as original, Image.open(BytesIO(decoded.repaired)) as turned:
        expected, found = ImageOps.exif_transpose(original).convert("RGB"), turned.convert("RGB")
        assert found.size == expected.size
        for corner in ((2, 2), (expected.width - 3, 2), (2, expected.height - 3)):
            wanted, got = expected.getpixel(corner), found.getpixel(corner)
            assert isinstance(wanted, tuple)
            assert isinstance(got, tuple)
            assert all(abs(a - b) < 40 for a, b in zip(wanted, got, strict=True))


def from_the_middle(found: Picture, filler: bytes) -> bytes:
    middle = len(found.data) * 2 // 3
    return found.data[:middle] + filler * (len(found.data) - middle)


def damaged_png() -> bytes:
    data = picture("png", 64, 64)
    at = data.index(b"IDAT")
    length = int.from_bytes(data[at - 4 : at])
    return data[: at - 4] + png_chunk(b"IDAT", b"\xff" * length) + data[at + 8 + length :]


async def test_pixels_of_which_none_decodes_are_broken(decoder: ImageDecoder) -> None:
    webp = examine(picture("webp", 64, 64, lossless=True))
    for found in (replace(webp, data=from_the_middle(webp, b"\xff")), examine(damaged_png())):
        assert await refusal(decoder, found) == errors.GIF_BROKEN, found.format


async def test_frames_from_the_first_undecodable_one_are_dropped(decoder: ImageDecoder) -> None:
    data = picture("png", 16, 16, frames=3)
    at = data.rindex(b"fdAT")
    length = int.from_bytes(data[at - 4 : at])
    number = data[at + 4 : at + 8]
    damaged = data[: at - 4] + png_chunk(b"fdAT", number + b"\xff" * (length - 4)) + data[at + 8 + length :]
    decoded = await decoder.decode(examine(damaged), ADDRESS)
    assert decoded.repaired is not None
    assert pixels(decoded.repaired) == pixels(data)[:2]


async def test_more_frames_than_the_walker_counted_are_broken(decoder: ImageDecoder) -> None:
    assert await refusal(decoder, replace(examine(picture("webp", frames=3)), frames=2)) == errors.GIF_BROKEN


async def test_a_picture_that_needs_too_much_memory_is_broken() -> None:
    large = examine(picture("png", 4096, 4096))
    assert await refusal(ImageDecoder(DecoderLimits(memory_bytes=120 * 2**20)), large) == errors.GIF_BROKEN
    assert (await ImageDecoder().decode(large, ADDRESS)).still


async def test_a_picture_that_needs_too_much_cpu_time_is_broken() -> None:
    decoder = pretending(
        "from gifchat_rooms_api.adapters.image_child.resources import limit_resources\n"
        "limit_resources(*map(int, sys.argv[-2:]))\n"
        "while True: pass",
        cpu_s=1,
    )
    assert await refusal(decoder, examine(picture("gif"))) == errors.GIF_BROKEN


@pytest.mark.parametrize(
    "body",
    [
        "os.kill(os.getpid(), 9)",
        "os.abort()",
        "sys.exit(1)",
        "sys.stdin.buffer.read(); os.kill(os.getpid(), 11)",
        "sys.stdin.close(); sys.exit(3)",
        "sys.stdin.buffer.read()",
        "sys.stdin.buffer.read(); sys.stdout.buffer.write(b'\\0' * 8)",
        "sys.stdin.buffer.read(); sys.stdout.buffer.write(b'\\0\\0\\0\\x09\\0\\0\\0\\0short')",
        "sys.stdin.buffer.read()\nwhile True: sys.stdout.buffer.write(bytes(1 << 20))",
        "sys.stderr.write('x' * 10_000_000); sys.exit(3)",
    ],
)
async def test_any_misbehaviour_of_the_child_means_broken(body: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        assert await refusal(pretending(body), examine(picture("gif", 200, 200))) == errors.GIF_BROKEN


async def test_a_child_that_cannot_start_means_unavailable() -> None:
    decoder = ImageDecoder(command=("/nowhere/python",))
    assert await refusal(decoder, examine(picture("gif"))) == errors.UNAVAILABLE


@pytest.fixture
def pid_file(tmp_path: Path) -> Path:
    path = tmp_path / "pid"
    os.mkfifo(path)
    return path


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_a_killed_child_means_broken(pid_file: Path) -> None:
    decoder = pretending(f"open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)")
    waiting = asyncio.create_task(refusal(decoder, examine(picture("gif"))))
    pid = int(await asyncio.to_thread(pid_file.read_text))
    os.kill(pid, signal.SIGKILL)
    assert await asyncio.wait_for(waiting, DEADLINE_S) == errors.GIF_BROKEN


async def test_a_child_over_its_deadline_is_killed_and_means_unavailable(pid_file: Path) -> None:
    decoder = pretending(f"open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)", deadline_s=1.0)
    waiting = asyncio.create_task(refusal(decoder, examine(picture("gif"))))
    pid = int(await asyncio.to_thread(pid_file.read_text))
    assert await asyncio.wait_for(waiting, DEADLINE_S) == errors.UNAVAILABLE
    assert gone(pid)


async def test_a_cancelled_caller_leaves_no_child(pid_file: Path) -> None:
    decoder = pretending(f"open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)")
    waiting = asyncio.create_task(decoder.decode(examine(picture("gif")), ADDRESS))
    pid = int(await asyncio.to_thread(pid_file.read_text))
    waiting.cancel()
    await asyncio.wait({waiting}, timeout=DEADLINE_S)
    assert waiting.cancelled()
    assert gone(pid)


async def test_closing_waits_for_the_child_of_a_cancelled_caller(pid_file: Path) -> None:
    decoder = pretending(f"open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)")
    waiting = asyncio.create_task(decoder.decode(examine(picture("gif")), ADDRESS))
    pid = int(await asyncio.to_thread(pid_file.read_text))
    async with asyncio.timeout(DEADLINE_S):
        while not waiting.done():
            waiting.cancel()
            await asyncio.sleep(0)
        await decoder.aclose()
    assert gone(pid)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_queue_is_bounded(pid_file: Path) -> None:
    decoder = pretending(f"open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)", at_once=1, waiting=2)
    wanted = examine(picture("gif"))
    inside = [asyncio.create_task(decoder.decode(wanted, ADDRESS)) for _ in range(3)]
    await asyncio.to_thread(pid_file.read_text)
    assert await refusal(decoder, wanted) == errors.UNAVAILABLE
    for task in inside:
        task.cancel()
    await asyncio.wait(inside, timeout=DEADLINE_S)
    assert all(task.cancelled() for task in inside)


ANSWER = "sys.stdin.buffer.read(); sys.stdout.buffer.write(b'\\0\\0\\0\\x01\\0\\0\\0\\0x')"
"""A child's answer: a still of one byte, and nothing repaired."""


async def test_addresses_take_turns(tmp_path: Path) -> None:
    started, queued = tmp_path / "started", tmp_path / "queued"
    decoder = pretending(
        f"open({str(started)!r}, 'a').write(sys.argv[2])\n"
        f"while not os.path.exists({str(queued)!r}): time.sleep(0.005)\n"
        f"{ANSWER}",
        at_once=1,
    )
    crowd, one = examine(picture("gif", frames=2)), examine(picture("gif", frames=3))
    waiting = [asyncio.create_task(decoder.decode(crowd, "192.0.2.1")) for _ in range(4)]
    while not started.exists():
        await asyncio.sleep(0.005)
    waiting.append(asyncio.create_task(decoder.decode(one, "192.0.2.2")))
    await asyncio.sleep(0)  # The first child ends only when the other address's picture is in the queue.
    queued.touch()
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.gather(*waiting)
    assert started.read_text() == "23222"


async def test_one_address_leaves_a_decoder_for_the_others(pid_file: Path) -> None:
    body = f"sys.argv[2] == '2' and (open({str(pid_file)!r}, 'w').write('x'), time.sleep(60)); {ANSWER}"
    decoder = pretending(body, at_once=2)
    endless = [asyncio.create_task(decoder.decode(examine(picture("gif", frames=2)), ADDRESS)) for _ in range(3)]
    await asyncio.to_thread(pid_file.read_text)
    async with asyncio.timeout(DEADLINE_S):
        decoded = await decoder.decode(examine(picture("gif", frames=3)), "192.0.2.2")
    assert decoded.still == b"x"
    for task in endless:
        task.cancel()
    await asyncio.wait(endless, timeout=DEADLINE_S)


async def test_the_queue_is_bounded_for_each_address(pid_file: Path) -> None:
    body = f"open({str(pid_file)!r}, 'w').write('x'); time.sleep(60)"
    decoder = pretending(body, at_once=1, waiting=10, waiting_per_address=1)
    wanted = examine(picture("gif"))
    inside = [asyncio.create_task(decoder.decode(wanted, ADDRESS)) for _ in range(2)]
    await asyncio.to_thread(pid_file.read_text)
    assert await refusal(decoder, wanted) == errors.UNAVAILABLE
    inside.append(asyncio.create_task(decoder.decode(wanted, "192.0.2.2")))
    await asyncio.sleep(0)
    assert not inside[-1].done()
    for task in inside:
        task.cancel()
    await asyncio.wait(inside, timeout=DEADLINE_S)
    assert all(task.cancelled() for task in inside)


async def test_the_deadline_includes_the_wait() -> None:
    decoder = pretending(ANSWER, at_once=1, deadline_s=0.2)
    turn = asyncio.get_running_loop().create_future()
    place = decoder._queue.add("192.0.2.2", 1, turn)
    decoder._start_next()
    wanted = examine(picture("gif"))
    async with asyncio.timeout(DEADLINE_S):
        assert await refusal(decoder, wanted) == errors.UNAVAILABLE
    decoder._queue.remove(place)
    patient = pretending(ANSWER, at_once=1)
    assert (await patient.decode(wanted, ADDRESS)).still == b"x"


async def test_a_child_has_a_low_priority() -> None:
    wait = "end = time.monotonic() + 10\nwhile os.nice(0) < 12 and time.monotonic() < end: time.sleep(0.005)\n"
    decoder = pretending(f"{wait}os.nice(0) == 12 or sys.exit(3)\n{ANSWER}", niceness=12)
    assert (await decoder.decode(examine(picture("gif")), ADDRESS)).still == b"x"


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this system has no autogroups")
async def test_the_childs_own_session_has_a_low_priority_too() -> None:
    script = (
        "end = time.monotonic() + 10\n"
        "while 'nice 12' not in open('/proc/self/autogroup').read() and time.monotonic() < end: time.sleep(0.005)\n"
        "nice = open('/proc/self/autogroup').read()\n"
        "os.getsid(0) == os.getpid() and 'nice 12' in nice or sys.exit(3)\n"
    )
    decoder = pretending(f"{script}{ANSWER}", niceness=12)
    # Two at once: the kernel refuses a second change within 100 ms.
    pictures = [decoder.decode(examine(picture("gif")), address) for address in (ADDRESS, "192.0.2.2")]
    assert [decoded.still for decoded in await asyncio.gather(*pictures)] == [b"x", b"x"]
    assert "nice 12" not in Path("/proc/self/autogroup").read_text()


async def test_the_child_knows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSION_SECRETS", "a secret of this test")
    decoder = pretending("sys.exit(0 if 'SESSION_SECRETS' in os.environ else 3)")
    assert await refusal(decoder, examine(picture("gif"))) == errors.GIF_BROKEN


async def test_the_child_cannot_write_files(tmp_path: Path) -> None:
    script = (
        "from gifchat_rooms_api.adapters.image_child.resources import limit_resources\n"
        "limit_resources(1 << 30, 5)\n"
        f"open({str(tmp_path / 'left behind')!r}, 'wb', buffering=0).write(b'x')\n"
    )
    child = await asyncio.create_subprocess_exec(sys.executable, "-I", "-c", script, stderr=asyncio.subprocess.PIPE)
    _, complaint = await child.communicate()
    assert child.returncode != 0
    assert b"File too large" in complaint
