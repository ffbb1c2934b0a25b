"""What the walkers share: a cursor that never reads past the end, and a budget of pixels that never runs over."""

from dataclasses import dataclass

from gifchat_contracts import limits

MAX_READS = 200_000
"""Reads of one walk; the largest real pictures need some thousands. It bounds the time that malice can take."""


class BrokenError(ValueError):
    """The bytes end too early, or say what their format does not allow."""


class TooManyPixelsError(ValueError):
    """A side, the number of frames, or all frames together are over the limits."""


@dataclass(frozen=True, slots=True)
class Walked:
    """What a walker found."""

    width: int
    height: int
    frames: int
    """Pictures that a decoder has to decode; 1 for a still picture."""
    orientation: int
    """1–8 as in EXIF, before that was left out: how to turn the pixels for a person. 1: not at all."""
    clean: bytes
    """The same picture without what it does not need."""


class Cursor:
    """Reads `data` from `position` on, up to `end`, at most `MAX_READS` times."""

    __slots__ = ("_reads", "data", "end", "position")

    def __init__(self, data: bytes, position: int = 0, end: int | None = None) -> None:
        self.data = data
        self.position = position
        self.end = len(data) if end is None else end
        self._reads = 0

    @property
    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self.position >= self.end

    def take(self, count: int) -> bytes:
        """The next `count` bytes.

        Raises:
            BrokenError: fewer are left.
        """
        start = self.position
        self.skip(count)
        return self.data[start : self.position]

    def skip(self, count: int) -> None:
        """Pass over `count` bytes.

        Raises:
            BrokenError: fewer are left, or there were `MAX_READS` before.
        """
        self._reads += 1
        if self._reads > MAX_READS:
            raise BrokenError(f"{MAX_READS} blocks, and no end")
        if count > self.end - self.position:
            raise BrokenError(f"ends at {self.end}, {count} bytes wanted at {self.position}")
        self.position += count

    def byte(self) -> int:
        """The next byte.

        Raises:
            BrokenError: none is left.
        """
        at = self.position
        self.skip(1)
        return self.data[at]


class PixelBudget:
    """Counts what a decoder would have to hold and to do, and stops a walker at the limits."""

    __slots__ = ("frames", "height", "width")

    def __init__(self, width: int, height: int) -> None:
        """A canvas of these sides.

        Raises:
            BrokenError: a side is 0.
            TooManyPixelsError: a side is over the limit.
        """
        self.width = 0
        self.height = 0
        self.frames = 0
        if width == 0 or height == 0:
            raise BrokenError(f"a canvas of {width} x {height}")
        self.grow(width, height)

    def grow(self, width: int, height: int) -> None:
        """Make the canvas at least this large.

        Raises:
            TooManyPixelsError: a side, or all frames so far on this canvas, are over the limit.
        """
        self.width = max(self.width, width)
        self.height = max(self.height, height)
        if max(self.width, self.height) > limits.GIF_MAX_SIDE:
            raise TooManyPixelsError(f"{self.width} x {self.height}")
        self._check_total()

    def add_frame(self) -> None:
        """Count one more frame, as large as the canvas.

        Raises:
            TooManyPixelsError: the frames, or their pixels, are over the limit.
        """
        self.frames += 1
        self._check_total()

    def require(self, width: int, height: int, left: int = 0, top: int = 0) -> None:
        """Check that a rectangle has an area and lies on the canvas.

        Raises:
            BrokenError: it does not.
        """
        if width == 0 or height == 0 or left + width > self.width or top + height > self.height:
            raise BrokenError(f"{width} x {height} at {left},{top} on {self.width} x {self.height}")

    def _check_total(self) -> None:
        if self.frames > limits.GIF_MAX_FRAMES:
            raise TooManyPixelsError(f"more than {limits.GIF_MAX_FRAMES} frames")
        if self.width * self.height * self.frames > limits.GIF_MAX_TOTAL_PIXELS:
            raise TooManyPixelsError(f"{self.frames} frames of {self.width} x {self.height}")
