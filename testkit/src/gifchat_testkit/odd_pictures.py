"""Picture files with damage and oddities, as real files have them. Browsers show only some of them."""

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from zlib import crc32

from PIL import Image, PngImagePlugin

from gifchat_testkit.pictures import picture, png_chunk, riff_chunk

PNG_START = b"\x89PNG\r\n\x1a\n"
SCRIPT = b"<script>alert(1)</script>"

NOTHING_TO_SEE = {
    "gif-nul-first": "container",
    "gif-junk-first": "container",
    "gif-header-only": "container",
    "gif-no-frame": "container",
    "gif-short-control": "container",
    "gif-long-control": "container",
    "gif-empty-only-frame": "container",
    "png-ihdr-bad-crc": "container",
    "png-plte-bad-crc": "container",
    "png-junk-before-idat": "container",
    "png-unknown-critical": "container",
    "png-two-headers": "container",
    "png-no-idat": "container",
    "png-empty-idat": "pixels",
    "png-indexed-no-plte": "pixels",
    "png-apng-first-fctl-small": "container",
    "png-apng-first-fctl-large": "container",
    "jpg-truncated-header": "container",
    "jpg-second-soi": "container",
    "jpg-unknown-marker": "container",
    "jpg-two-frames": "container",
    "jpg-lossless": "container",
    "jpg-height-0": "container",
    "jpg-without-tables": "pixels",
    "webp-lossy-riff-0": "container",
    "webp-lossy-riff-4-less": "container",
    "webp-lossy-riff-max": "container",
    "webp-lossless-riff-0": "container",
    "webp-lossless-riff-4-less": "container",
    "webp-lossless-riff-max": "container",
    "webp-moving-riff-0": "container",
    "webp-moving-riff-4-less": "container",
    "webp-moving-riff-max": "container",
    "webp-lossy-junk-in-riff": "container",
    "webp-lossless-junk-in-riff": "container",
    "webp-moving-junk-in-riff": "container",
    "webp-canvas-differs": "container",
    "webp-unknown-chunk-first": "container",
    "webp-animated-flag-only": "container",
    "webp-frames-without-flag": "container",
    "webp-lossless-truncated": "pixels",
}
"""The odd pictures that are refused, and where we find that out: in the `container` or in the `pixels`.

Browsers show nothing of them, except the last. Chromium shows its upper part, but libwebp decodes no part of it.
"""


def gif_blocks(gif: bytes) -> tuple[bytes, list[bytes]]:
    """Split a GIF into its header with the global colour table, and its blocks without the trailer."""
    at = 13 + (3 << ((gif[10] & 7) + 1) if gif[10] & 0x80 else 0)
    header, blocks = gif[:at], []
    while gif[at] != 0x3B:
        start = at
        if gif[at] == 0x2C:
            flags = gif[at + 9]
            at += 11 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
        else:
            at += 2
        while gif[at]:
            at += gif[at] + 1
        at += 1
        blocks.append(gif[start:at])
    return header, blocks


def gif_frame(left: int, top: int, image: Image.Image, *, control: bytes = b"") -> bytes:
    """Build a frame of a GIF with its own colour table, at any place."""
    out = BytesIO()
    image.save(out, "GIF", optimize=False)
    header, blocks = gif_blocks(out.getvalue())
    (block,) = (block for block in blocks if block[:1] == b"\x2c")
    sides = struct.pack("<HHHH", left, top, *image.size)
    return control + b"\x2c" + sides + bytes((0x80 | header[10] & 7,)) + header[13:] + block[10:]


def gif_of(width: int, height: int, *blocks: bytes) -> bytes:
    """Build a GIF without a global colour table."""
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\x00\x00\x00" + b"".join(blocks) + b";"


def control(disposal: int = 0, transparent: int | None = None, delay: int = 10) -> bytes:
    """Build a graphic control extension."""
    flags = disposal << 2 | (transparent is not None)
    return b"\x21\xf9\x04" + struct.pack("<BHB", flags, delay, transparent or 0) + b"\x00"


def flat(width: int, height: int, color: tuple[int, int, int]) -> Image.Image:
    """Create a picture of two colours, mostly `color`, with a palette."""
    image = Image.new("RGB", (width, height), color)
    image.putpixel((0, 0), (255, 255, 255))
    return image.quantize(4)


def png_chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    """Split a PNG into the names and contents of its chunks."""
    at, chunks = len(PNG_START), []
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        chunks.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """Build a PNG from the names and contents of its chunks."""
    return PNG_START + b"".join(png_chunk(name, content) for name, content in chunks)


def bad_crc(png: bytes, name: bytes) -> bytes:
    """Change the checksum of the first chunk called `name`."""
    at = png.index(name)
    end = at + 4 + int.from_bytes(png[at - 4 : at])
    wrong = (crc32(png[at:end]) ^ 0xFFFF).to_bytes(4)
    return png[:end] + wrong + png[end + 4 :]


def insert(data: bytes, at: int, extra: bytes) -> bytes:
    """Insert `extra` into `data`."""
    return data[:at] + extra + data[at:]


def fctl(sequence: int, width: int, height: int, left: int = 0, top: int = 0) -> bytes:
    """Build the content of an APNG's frame control chunk."""
    return struct.pack(">IIIIIHHBB", sequence, width, height, left, top, 1, 10, 0, 0)


def odd_pictures() -> dict[str, bytes]:
    """Return every odd picture by its name. The part before the first dash is its extension."""
    return {name: data for part in (_gifs, _pngs, _apngs, _jpegs, _webps) for name, data in part()}


def _gifs() -> Iterator[tuple[str, bytes]]:
    moving, still = picture("gif", 60, 40, frames=3, loop=0), picture("gif", 60, 40, interlace=False)
    header, blocks = gif_blocks(moving)
    yield "gif-no-trailer", moving[:-1]
    yield "gif-no-trailer-nul", moving[:-1] + b"\0"
    yield "gif-nul-before-trailer", moving[:-1] + b"\0\0\0;"
    yield "gif-nul-between-frames", header + b"".join(blocks[:3]) + b"\0\0".join(blocks[3:]).join((b"\0", b";"))
    yield "gif-nul-first", header + b"\0" + b"".join(blocks) + b";"
    yield "gif-junk-between-frames", header + b"".join(blocks[:3]) + b"junk" + b"".join(blocks[3:]) + b";"
    yield "gif-junk-first", header + b"junk" + b"".join(blocks) + b";"
    yield "gif-junk-after", moving + SCRIPT
    yield "gif-junk-for-trailer", moving[:-1] + SCRIPT
    yield "gif-truncated-last-frame", moving[: -len(blocks[-1]) // 2]
    yield "gif-truncated-first-frame", still[: len(still) * 2 // 3]
    yield "gif-truncated-control", moving[:-1] + b"\x21\xf9\x04\x00"
    yield "gif-truncated-comment", moving[:-1] + b"\x21\xfe\x30hello"
    yield "gif-truncated-descriptor", moving[:-1] + b"\x2c\0\0\0"
    yield "gif-header-only", header
    yield "gif-no-frame", header + b";"
    red, blue = flat(30, 20, (200, 0, 0)), flat(20, 20, (0, 0, 200))
    frame = gif_frame(0, 0, red)
    yield "gif-short-control", gif_of(30, 20, b"\x21\xf9\x03\x00\x0a\x00\x00", frame)
    yield "gif-long-control", gif_of(30, 20, b"\x21\xf9\x05\x00\x0a\x00\x00\x07\x00", frame)
    yield "gif-87a-with-frames", b"GIF87a" + moving[6:]
    yield "gif-screen-0", gif_of(0, 0, gif_frame(0, 0, flat(30, 20, (0, 0, 200))))
    yield "gif-first-frame-larger", gif_of(10, 10, gif_frame(0, 0, flat(30, 20, (0, 0, 200))))
    yield "gif-first-frame-sticks-out", gif_of(20, 20, gif_frame(10, 5, flat(30, 20, (0, 0, 200))))
    yield "gif-second-frame-sticks-out", gif_of(30, 20, frame, gif_frame(20, 10, blue, control=control()))
    yield (
        "gif-second-frame-outside",
        gif_of(30, 20, gif_frame(0, 0, red), gif_frame(4000, 4000, blue, control=control()), gif_frame(5, 5, blue)),
    )
    yield "gif-first-frame-partial", gif_of(30, 20, gif_frame(5, 5, flat(10, 8, (200, 0, 0))))
    yield "gif-first-frame-outside", gif_of(30, 20, gif_frame(40, 30, flat(10, 8, (200, 0, 0))), gif_frame(0, 0, red))
    yield (
        "gif-empty-second-frame",
        gif_of(
            30,
            20,
            gif_frame(0, 0, red),
            b"\x2c" + struct.pack("<HHHH", 0, 0, 0, 0) + b"\0\x02\0",
            gif_frame(0, 0, blue),
        ),
    )
    yield "gif-empty-only-frame", gif_of(30, 20, b"\x2c" + struct.pack("<HHHH", 0, 0, 0, 0) + b"\0\x02\0")
    yield "gif-no-data", gif_of(30, 20, b"\x2c" + struct.pack("<HHHH", 0, 0, 30, 20) + b"\0\x02\0")
    yield "gif-second-frame-no-data", gif_of(30, 20, frame, b"\x2c" + struct.pack("<HHHH", 0, 0, 30, 20) + b"\0\x02\0")
    yield "gif-surplus-lzw", gif_of(30, 20, frame[:-1] + bytes((len(SCRIPT),)) + SCRIPT + b"\0")
    yield "gif-bad-code-size", gif_of(30, 20, frame[:22] + b"\x0d" + frame[23:])
    yield "gif-no-palette", gif_of(2, 2, b"\x2c" + struct.pack("<HHHH", 0, 0, 2, 2) + b"\0\x02\x03\x04\x00\x51\0")
    yield "gif-transparent", gif_of(30, 20, gif_frame(0, 0, red, control=control(transparent=0)))


def _colors(mode: str = "RGB", width: int = 40, height: int = 30) -> Image.Image:
    with Image.open(BytesIO(picture("png", width, height))) as image:
        return image.convert(mode)


def _png(image: Image.Image, **options: object) -> bytes:
    out = BytesIO()
    image.save(out, "PNG", **options)
    return out.getvalue()


def _pngs() -> Iterator[tuple[str, bytes]]:
    png = picture("png", 40, 30)
    chunks = png_chunks(png)
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "hello")
    yield "png-text-bad-crc", bad_crc(_png(_colors(), pnginfo=info), b"tEXt")
    for name in (b"IHDR", b"IDAT", b"IEND"):
        yield f"png-{name.decode().lower()}-bad-crc", bad_crc(png, name)
    indexed = _png(_colors().quantize(16))
    yield "png-plte-bad-crc", bad_crc(indexed, b"PLTE")
    gamma = png_of([chunks[0], (b"gAMA", struct.pack(">I", 100_000)), *chunks[1:]])
    yield "png-gamma", gamma
    yield "png-gamma-bad-crc", bad_crc(gamma, b"gAMA")
    yield "png-no-iend", png[:-12]
    yield "png-iend-cut", png[:-5]
    yield "png-junk-after", png + SCRIPT
    yield "png-junk-before-iend", png[:-12] + SCRIPT + png[-12:]
    at = png.index(b"IDAT") - 4
    yield "png-junk-before-idat", insert(png, at, SCRIPT)
    yield "png-truncated", png[: len(png) * 2 // 3]
    yield "png-truncated-large", _noise(200, 150)[:40_000]
    yield "png-unknown-critical", insert(png, at, png_chunk(b"CgBI", b"\0\0\0\0"))
    yield "png-bad-chunk-name", insert(png, at, png_chunk(b"a1b2", b"\0\0\0\0"))
    raw = zlib.decompress(chunks[1][1])
    yield "png-surplus-behind-stream", png_of([chunks[0], (b"IDAT", chunks[1][1] + SCRIPT), chunks[-1]])
    yield "png-surplus-rows", png_of([chunks[0], (b"IDAT", zlib.compress(raw + SCRIPT * 100)), chunks[-1]])
    yield "png-surplus-chunk", png_of([chunks[0], chunks[1], (b"IDAT", SCRIPT), chunks[-1]])
    yield "png-missing-rows", png_of([chunks[0], (b"IDAT", zlib.compress(raw[: len(raw) // 2])), chunks[-1]])
    yield "png-no-adler", png_of([chunks[0], (b"IDAT", chunks[1][1][:-4]), chunks[-1]])
    yield "png-bad-adler", png_of([chunks[0], (b"IDAT", chunks[1][1][:-4] + b"abcd"), chunks[-1]])
    half = len(chunks[1][1]) // 2
    split = (b"IDAT", chunks[1][1][:half]), (b"IDAT", chunks[1][1][half:])
    yield "png-split-idat", png_of([chunks[0], *split, chunks[-1]])
    yield "png-text-between-idats", png_of([chunks[0], split[0], (b"tEXt", b"Comment\0x"), split[1], chunks[-1]])
    yield "png-two-headers", png_of([chunks[0], *chunks])
    yield "png-iend-with-content", png_of([*chunks[:-1], (b"IEND", b"x")])
    yield "png-no-idat", png_of([chunks[0], chunks[-1]])
    yield "png-empty-idat", png_of([chunks[0], (b"IDAT", b""), chunks[-1]])
    with_palette = png_chunks(indexed)
    yield "png-indexed-no-plte", png_of([part for part in with_palette if part[0] != b"PLTE"])
    yield (
        "png-trns-before-plte",
        png_of([with_palette[0], (b"tRNS", b"\0"), *(part for part in with_palette[1:] if part[0] != b"tRNS")]),
    )
    yield (
        "png-trns-long",
        png_of(
            [
                part
                for name in with_palette
                for part in ((name, (b"tRNS", b"\0" * 40)) if name[0] == b"PLTE" else (name,))
            ]
        ),
    )
    yield "png-grey-8-trns", _png(_colors("L"), transparency=_colors("L").getpixel((5, 25)))
    grey = Image.new("I;16", (20, 10), 0x8000)
    grey.putpixel((5, 5), 0x1234)
    yield "png-grey-16", _png(grey)
    grey_chunks = png_chunks(_png(grey))
    yield "png-grey-16-trns", png_of([grey_chunks[0], (b"tRNS", b"\x80\x00"), *grey_chunks[1:]])
    yield "png-rgb-trns", _png(_colors(), transparency=(30, 60, 220))
    yield "png-1-bit-trns", _png(_colors("1"), transparency=0)


def _noise(width: int, height: int) -> bytes:
    return _png(Image.effect_noise((width, height), 90).convert("RGB"))


def _apngs() -> Iterator[tuple[str, bytes]]:
    apng = picture("png", 40, 30, frames=3)
    chunks = png_chunks(apng)
    names = [name for name, _ in chunks]
    first_fctl = names.index(b"fcTL")
    yield "png-apng", apng
    yield "png-apng-default-image", picture("png", 40, 30, frames=3, default_image=True)
    still = png_chunks(picture("png", 40, 30))
    actl = struct.pack(">II", 1, 0)
    yield "png-apng-actl-only", png_of([still[0], (b"acTL", actl), *still[1:]])
    yield "png-apng-fctl-only", png_of([still[0], (b"fcTL", fctl(0, 40, 30)), *still[1:]])
    yield "png-apng-actl-after-idat", png_of([*still[:2], (b"acTL", actl), still[2]])
    yield "png-apng-actl-0-frames", png_of([chunks[0], (b"acTL", bytes(8)), *chunks[2:]])
    yield "png-apng-actl-bad-crc", bad_crc(apng, b"acTL")
    yield "png-apng-fctl-bad-crc", bad_crc(apng, b"fcTL")
    yield "png-apng-fdat-bad-crc", bad_crc(apng, b"fdAT")
    yield "png-apng-declares-more", png_of([chunks[0], (b"acTL", struct.pack(">II", 9, 0)), *chunks[2:]])
    yield "png-apng-declares-fewer", png_of([chunks[0], (b"acTL", struct.pack(">II", 2, 0)), *chunks[2:]])
    yield "png-apng-first-fctl-small", _with_fctl(chunks, first_fctl, fctl(0, 20, 15))
    yield "png-apng-first-fctl-large", _with_fctl(chunks, first_fctl, fctl(0, 41, 30))
    second = names.index(b"fcTL", first_fctl + 1)
    yield "png-apng-second-fctl-outside", _with_fctl(chunks, second, fctl(1, 40, 30, 10, 10))
    yield "png-apng-second-fctl-empty", _with_fctl(chunks, second, fctl(1, 0, 0))
    yield "png-apng-bad-sequence", _with_fctl(chunks, second, fctl(7, 40, 30))
    yield "png-apng-last-frame-no-data", png_of([part for part in chunks[:-2] if part[0] != b"IEND"] + [chunks[-1]])
    yield "png-apng-truncated", apng[: len(apng) - 40]
    yield "png-apng-no-iend", apng[:-12]
    fdat = names.index(b"fdAT")
    surplus = [*chunks[:fdat], (b"fdAT", chunks[fdat][1] + SCRIPT), *chunks[fdat + 1 :]]
    yield "png-apng-surplus-fdat", png_of(surplus)


def _with_fctl(chunks: list[tuple[bytes, bytes]], at: int, content: bytes) -> bytes:
    return png_of([*chunks[:at], (b"fcTL", content), *chunks[at + 1 :]])


def _jpegs() -> Iterator[tuple[str, bytes]]:
    jpg, progressive = picture("jpg", 64, 48), picture("jpg", 64, 48, progressive=True)
    dqt, sos = jpg.index(b"\xff\xdb"), jpg.index(b"\xff\xda")
    yield "jpg-no-eoi", jpg[:-2]
    yield "jpg-no-eoi-ff", jpg[:-1]
    yield "jpg-nul-for-eoi", jpg[:-2] + b"\0\0\0"
    yield "jpg-junk-after", jpg + SCRIPT
    yield "jpg-junk-before-dqt", insert(jpg, dqt, b"junk")
    yield "jpg-nul-before-sos", insert(jpg, sos, b"\0\0")
    yield "jpg-junk-before-eoi", insert(jpg, len(jpg) - 2, b"junk")
    yield "jpg-rst-before-dqt", insert(jpg, dqt, b"\xff\xd0")
    yield "jpg-truncated-scan", jpg[: (sos + len(jpg)) // 2]
    yield "jpg-truncated-progressive", progressive[: len(progressive) * 3 // 4]
    yield "jpg-truncated-header", jpg[: sos - 20]
    yield "jpg-second-soi", insert(jpg, 2, b"\xff\xd8")
    yield "jpg-unknown-marker", insert(jpg, dqt, b"\xff\xf7\0\x04ab")
    yield "jpg-dnl", insert(jpg, len(jpg) - 2, b"\xff\xdc\0\x04\0\x30")
    yield "jpg-marker-01", insert(jpg, dqt, b"\xff\x01")
    yield "jpg-segment-length-1", insert(jpg, dqt, b"\xff\xfe\0\x01")
    yield "jpg-progressive", progressive
    sof = jpg.index(b"\xff\xc0")
    yield "jpg-two-frames", insert(jpg, sof, jpg[sof : sof + 19])
    yield "jpg-arithmetic", jpg.replace(b"\xff\xc0", b"\xff\xc9", 1)
    yield "jpg-lossless", jpg.replace(b"\xff\xc0", b"\xff\xc3", 1)
    yield "jpg-height-0", jpg[: sof + 5] + b"\0\0" + jpg[sof + 7 :]
    yield "jpg-concatenated", jpg + jpg
    yield "jpg-without-tables", jpg[:dqt] + jpg[sof:]


def _webps() -> Iterator[tuple[str, bytes]]:
    lossy, lossless = picture("webp", 40, 30), picture("webp", 40, 30, lossless=True)
    moving = picture("webp", 40, 30, frames=3, lossless=True)
    for name, data in (("lossy", lossy), ("lossless", lossless), ("moving", moving)):
        body = data[8:]
        yield f"webp-{name}", data
        yield f"webp-{name}-riff-8-more", b"RIFF" + struct.pack("<I", len(data)) + body
        yield f"webp-{name}-riff-100-more", b"RIFF" + struct.pack("<I", len(data) + 92) + body
        yield f"webp-{name}-riff-0", b"RIFF" + bytes(4) + body
        yield f"webp-{name}-riff-4-less", b"RIFF" + struct.pack("<I", len(body) - 4) + body
        yield f"webp-{name}-riff-max", b"RIFF\xff\xff\xff\xff" + body
        yield f"webp-{name}-truncated", data[: len(data) * 2 // 3]
        yield f"webp-{name}-junk-after", data + SCRIPT
        yield f"webp-{name}-junk-in-riff", riff_chunk(b"RIFF", body + SCRIPT)
    yield "webp-two-pictures", riff_chunk(b"RIFF", lossy[8:] + lossless[12:])
    sides = (39).to_bytes(3, "little") + (29).to_bytes(3, "little")
    wider = (49).to_bytes(3, "little") + (29).to_bytes(3, "little")
    yield "webp-canvas-differs", riff_chunk(b"RIFF", b"WEBP" + riff_chunk(b"VP8X", bytes(4) + wider) + lossy[12:])
    extended = b"WEBP" + riff_chunk(b"VP8X", bytes(4) + sides)
    yield "webp-extended", riff_chunk(b"RIFF", extended + lossy[12:])
    yield "webp-unknown-chunk-first", riff_chunk(b"RIFF", b"WEBP" + riff_chunk(b"JUNK", b"x") + lossy[12:])
    yield (
        "webp-exif-flag-without-exif",
        riff_chunk(b"RIFF", b"WEBP" + riff_chunk(b"VP8X", b"\x08\0\0\0" + sides) + lossy[12:]),
    )
    yield (
        "webp-animated-flag-only",
        riff_chunk(b"RIFF", b"WEBP" + riff_chunk(b"VP8X", b"\x02\0\0\0" + sides) + lossy[12:]),
    )
    yield "webp-frames-without-flag", moving[:20] + b"\0" + moving[21:]
