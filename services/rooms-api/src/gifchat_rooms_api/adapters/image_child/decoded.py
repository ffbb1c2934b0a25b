"""The result of decoding: a picture, its new encoding, and its still."""

from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from PIL import Image, PngImagePlugin


@dataclass(slots=True)
class Decoded:
    """A decoded picture."""

    format_name: str
    """Pillow's name of the format."""
    first: Image.Image
    """The first frame that a browser shows, on its canvas."""
    repaired: bytes = b""
    """The file to store. Empty if it is the file that was decoded."""
    colors: list[tuple[bytes, bytes]] = field(default_factory=list)
    """The PNG chunks that define the colours of the samples, such as `gAMA`."""
    lossless: bool = False
    """Whether a WebP must stay lossless."""

    def encoded_again(self) -> bytes:
        """Encode the first frame in its own format."""
        by_format: dict[str, dict[str, Any]] = {
            "JPEG": {"quality": 90},
            "PNG": {"pnginfo": self._png_info()},
            "WEBP": {"quality": 90, "lossless": self.lossless},
        }
        options = by_format[self.format_name]
        out = BytesIO()
        self.first.save(out, self.format_name, icc_profile=self.first.info.get("icc_profile"), **options)
        return out.getvalue()

    def still(self, longest_side: int) -> bytes:
        """Return the first frame as a small PNG that shows the same colours and the same transparency."""
        picture = self.first
        if picture.mode.startswith("I"):
            # 16-bit grey: Pillow's own conversion would turn every value above 255 white.
            picture = picture.convert("I").point(lambda value: value * (1 / 256)).convert("L")
        small = picture.convert(_still_mode(picture))
        small.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
        grey_to_color = picture.mode in ("1", "L", "LA") and small.mode != "L"
        profile = None if grey_to_color or picture.mode == "CMYK" else self.first.info.get("icc_profile")
        out = BytesIO()
        small.save(out, "PNG", icc_profile=profile, pnginfo=self._png_info())
        return out.getvalue()

    def _png_info(self) -> PngImagePlugin.PngInfo:
        info = PngImagePlugin.PngInfo()
        for name, content in self.colors:
            info.add(name, content)
        return info


def _still_mode(picture: Image.Image) -> str:
    if picture.has_transparency_data:
        return "RGBA"
    return "L" if picture.mode == "L" else "RGB"
