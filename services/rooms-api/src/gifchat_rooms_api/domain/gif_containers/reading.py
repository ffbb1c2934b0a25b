"""What the walkers share: a cursor that never reads past the end, and a pixel budget that enforces the limits."""

from dataclasses import dataclass

from gifchat_contracts import limits

MAX_READS = 200_000
"""Reads per walk; the largest real pictures need a few thousand. Limits the time that a hostile file can take."""


class BrokenError(ValueError):
    """The bytes are truncated, or violate their format."""


class TooManyPixelsError(ValueError):
    """A side, the number of frames, or the total number of pixels is over the limit."""


@dataclass(frozen=True, slots=True)
class Walked:
    """The result of a walk."""

    width: int
    height: int
    frames: int
    """Pictures that a decoder must decode; 1 for a still picture."""
    orientation: int
    """1–8, from the EXIF data that the walker dropped: how to rotate the pixels. 1 means no rotation."""
    clean: bytes
    """The picture with only the blocks that are needed to show it."""


class Cursor:
    """Reads `data` from `position` to `end`, at most `MAX_READS` times. Further reads raise `BrokenError`."""

    __slots__ = ("_reads", "data", "end", "position")

    def __init__(self, data: bytes, position: int = 0, end: int | None = None) -> None:
        self.data = data
        self.position = position
        self.end = len(data) if end is None else end
        self._reads = 0

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
            raise BrokenError(f"the file ends at {self.end}, but {count} bytes are expected at {self.position}")
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

    __slots__ = ("frames", "height", "width")

    def __init__(self, width: int, height: int) -> None:
        """Start with a canvas of this size. Raise `BrokenError` if a side is 0."""
        self.width = 0
        self.height = 0
        self.frames = 0
        if width == 0 or height == 0:
            raise BrokenError(f"a canvas of {width} x {height}")
        self.grow(width, height)

    def grow(self, width: int, height: int) -> None:
        """Grow the canvas to at least this size. All earlier frames then count as that large."""
        self.width = max(self.width, width)
        self.height = max(self.height, height)
        if max(self.width, self.height) > limits.GIF_MAX_SIDE:
            raise TooManyPixelsError(f"{self.width} x {self.height}")
        self._check_total()

    def add_frame(self) -> None:
        """Count one more frame of the size of the canvas."""
        self.frames += 1
        self._check_total()

    def require(self, width: int, height: int, left: int, top: int) -> None:
        """Raise `BrokenError` unless a rectangle has an area and lies within the canvas."""
        if width == 0 or height == 0 or left + width > self.width or top + height > self.height:
            raise BrokenError(f"{width} x {height} at {left},{top} on {self.width} x {self.height}")

    def _check_total(self) -> None:
        if self.frames > limits.GIF_MAX_FRAMES:
            raise TooManyPixelsError(f"more than {limits.GIF_MAX_FRAMES} frames")
        if self.width * self.height * self.frames > limits.GIF_MAX_TOTAL_PIXELS:
            raise TooManyPixelsError(f"{self.frames} frames of {self.width} x {self.height}")
