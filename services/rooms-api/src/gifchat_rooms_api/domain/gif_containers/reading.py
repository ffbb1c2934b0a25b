"""What the walkers share: a cursor that never reads past the end, and a pixel budget that enforces the limits."""

from dataclasses import dataclass

from gifchat_contracts import limits

MAX_READS = 200_000
"""Reads per walk; the largest real pictures need a few thousand. Limits the time that a hostile file can take."""


class BrokenError(ValueError):
    """The bytes are truncated, or violate their format."""


class EndError(BrokenError):
    """The bytes end before the picture does."""


class TooManyPixelsError(ValueError):
    """A side, the number of frames, or the total number of pixels is over the limit."""


@dataclass(frozen=True, slots=True)
class Walked:
    """The result of a walk."""

    width: int
    height: int
    frames: int
    """Frames that a browser shows; 1 for a still picture."""
    decoded_pixels: int
    """Pixels that a decoder must process: of all frames, shown or not, and again for many scans."""
    clean: bytes
    """The picture with only the blocks that are needed to show it."""
    orientation: int = 1
    """1–8, from the EXIF data that the walker dropped: how to rotate the pixels. 1 means no rotation."""
    encode_again: bool = False
    """Whether the pixels must be encoded again: some may be missing, or not every browser reads their encoding."""


class Cursor:
    """Reads `data` from `position` to `end`, at most `MAX_READS` times. Further reads raise `BrokenError`."""

    __slots__ = ("_reads", "data", "end", "position", "ran_out")

    def __init__(self, data: bytes, position: int = 0, end: int | None = None) -> None:
        self.data = data
        self.position = position
        self.end = len(data) if end is None else end
        self._reads = 0
        self.ran_out = False
        """Whether `up_to` returned fewer bytes than the caller asked for."""

    @property
    def is_exhausted(self) -> bool:
        """Whether `MAX_READS` is reached."""
        return self._reads > MAX_READS

    def up_to(self, count: int) -> bytes:
        """Return the next `count` bytes, or fewer if the data ends."""
        left = max(0, self.end - self.position)
        self.ran_out |= count > left
        return self.take(min(count, left))

    @property
    def at_end(self) -> bool:
        """Whether no bytes are left."""
        return self.position >= self.end

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        start = self.position
        self.skip(count)
        return self.data[start : self.position]

    def skip(self, count: int) -> None:
        """Skip `count` bytes."""
        self._reads += 1
        if self._reads > MAX_READS:
            raise BrokenError(f"more than {MAX_READS} blocks")
        if count > self.end - self.position:
            raise EndError(f"the file ends at {self.end}, but {count} bytes are expected at {self.position}")
        self.position += count

    def byte(self) -> int:
        """Return the next byte."""
        at = self.position
        self.skip(1)
        return self.data[at]


class PixelBudget:
    """Counts the pixels that a decoder would have to process.

    Raises `TooManyPixelsError` as soon as a side, the number of frames or the total of pixels is over its limit.
    """

    __slots__ = ("frames", "height", "pixels", "width")

    def __init__(self, width: int, height: int) -> None:
        """Start with a canvas of this size. Raise `BrokenError` if a side is 0."""
        self.width = width
        self.height = height
        self.frames = 0
        self.pixels = 0
        if width == 0 or height == 0:
            raise BrokenError(f"a canvas of {width} x {height}")
        if max(width, height) > limits.GIF_MAX_SIDE:
            raise TooManyPixelsError(f"{width} x {height}")

    def add_frame(self, width: int = 0, height: int = 0) -> None:
        """Count one more frame of at least the size of the canvas."""
        if max(width, height) > limits.GIF_MAX_SIDE:
            raise TooManyPixelsError(f"a frame of {width} x {height}")
        self.frames += 1
        self.pixels += max(self.width * self.height, width * height)
        if self.frames > limits.GIF_MAX_FRAMES:
            raise TooManyPixelsError(f"more than {limits.GIF_MAX_FRAMES} frames")
        if self.pixels > limits.GIF_MAX_TOTAL_PIXELS:
            raise TooManyPixelsError(f"{self.frames} frames of {self.width} x {self.height}")

    def require(self, width: int, height: int, left: int, top: int) -> None:
        """Raise `BrokenError` unless a rectangle has an area and lies within the canvas."""
        if width == 0 or height == 0 or left + width > self.width or top + height > self.height:
            raise BrokenError(f"{width} x {height} at {left},{top} on {self.width} x {self.height}")
