"""From a prepared section to a frame of the movie: greys, local contrast."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from mrc2movie.picture.greys import GreyConversion, GreyRange, not_finite
from mrc2movie.picture.local_contrast import LocalContrast

Frame: TypeAlias = NDArray[np.uint8]
"""(h, w) uint8, row 0 at the top of the picture; (h, w, 3) red, green, blue where in colour."""


class Overlay(Protocol):
    """Something that is drawn over the sections of one movie."""

    def draw(self, frame: Frame, position: int) -> None:
        """Draw onto the frame at a position of the movie, (h, w, 3), in place; from any thread."""


class Layout(Protocol):
    """What stands beside the section in each frame of one movie.

    Attributes:
        shape: Of the frames: (rows, columns), or (rows, columns, 3).
    """

    shape: tuple[int, ...]

    def arrange(self, canvas: Frame, frame: Frame, position: int) -> None:
        """Put the frame of the section at a position onto a canvas of the shape, and all that stands beside it."""

    def follow(self) -> Callable[[int], object]:
        """Begin a pass over the sections.

        Returns:
            What is to be called with each position in order, before any thread begins it.
        """


@dataclass(frozen=True)
class RenderOptions:
    """How the sections of one movie are rendered.

    Attributes:
        grey_range: What becomes black and white.
        row0_at_bottom: Whether row 0 of a section is the bottom of the picture.
        clip_limit: Of CLAHE; 0 is none.
        tiles: CLAHE works on so many tiles along (x, y).
        invert: Whether black is shown as white.
        shifts: What is to be added to the voxels at each position; nothing where it is empty.
        enlarge: Each pixel becomes so many in each direction.
        overlays: What is drawn over the frames, which are in colour then.
        layout: What stands beside them; None for nothing.
    """

    grey_range: GreyRange
    row0_at_bottom: bool
    clip_limit: float
    tiles: tuple[int, int]
    invert: bool = False
    shifts: Sequence[float] = ()
    enlarge: int = 1
    overlays: Sequence[Overlay] = ()
    layout: Layout | None = None


class Renderer:
    """Renders the sections of one movie, in one thread: neither local contrast nor the buffers can be shared.

    The frames lie in the same memory one after the other: memory that is new for every section costs as much as to
    convert it. Each stays what it is until the next one is rendered.

    CLAHE works on 8 bits. In 16 it would be another filter: OpenCV counts in 65536 bins there, more than a tile of
    128 x 128 has pixels, so that clipping them means something else (19 to 26 dB from what it does in 8 bits), and it
    takes three times as long (6.2 instead of 2.0 ms for 1024 x 1024). And 8 bits lose nothing that a movie could show:
    greys that are not rounded before give the same to within 49 dB, even where 99.8 % of the voxels share 21 greys,
    while JPEG of quality 90 keeps 36 to 42 dB (``tests/benchmarks/clahe.py``).

    Args:
        options: How.
    """

    def __init__(self, options: RenderOptions) -> None:
        self._options = options
        equalise = options.clip_limit > 0 and not options.grey_range.constant
        self._local_contrast = LocalContrast(options.clip_limit, options.tiles) if equalise else None
        self._conversion = GreyConversion(options.row0_at_bottom)
        self._grey = np.empty(0, np.uint8)
        self._contrasted = np.empty(0, np.uint8)
        self._coloured = np.empty(0, np.uint8)
        self._canvas = np.empty(0, np.uint8)

    def __call__(self, section: NDArray[np.generic], position: int = 0) -> Frame:
        """Render one section, (y, x) of any real native dtype or (y, x, 3) in colour, at a position of the movie."""
        options = self._options
        if self._grey.shape != section.shape:
            self._grey = np.empty(section.shape, np.uint8)
            self._contrasted = np.empty(section.shape, np.uint8)
        grey_range = options.grey_range.shifted_by(options.shifts[position] if options.shifts else 0.0)
        frame = self._grey
        self._conversion.apply(section, grey_range, frame)
        if self._local_contrast:
            frame = self._equalised(frame, self._local_contrast)
        if options.invert:
            cv2.bitwise_not(frame, frame)
        if options.grey_range.nonfinite and (options.invert or self._local_contrast):
            frame[not_finite(section, options.row0_at_bottom)] = 0
        frame = enlarged(frame, options.enlarge)
        if options.overlays:
            frame = self._in_colour(frame)
            for overlay in options.overlays:
                overlay.draw(frame, position)
        return self._arranged(frame, position, options.layout) if options.layout else frame

    def _arranged(self, frame: Frame, position: int, layout: Layout) -> Frame:
        shape = layout.shape if frame.ndim == 2 else (*layout.shape[:2], 3)
        if self._canvas.shape != shape:
            self._canvas = np.empty(shape, np.uint8)
        layout.arrange(self._canvas, frame, position)
        return self._canvas

    def _in_colour(self, frame: Frame) -> Frame:
        if frame.ndim == 3:
            return frame
        if self._coloured.shape != (*frame.shape, 3):
            self._coloured = np.empty((*frame.shape, 3), np.uint8)
        cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB, self._coloured)
        return self._coloured

    def _equalised(self, frame: Frame, local_contrast: LocalContrast) -> Frame:
        if frame.ndim == 2:
            local_contrast.apply(frame, self._contrasted)
            return self._contrasted
        colours = cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb)
        lightness = np.array(colours[..., 0], np.uint8)  # only this is equalised, so that hues stay what they are
        contrasted = np.empty_like(lightness)
        local_contrast.apply(lightness, contrasted)
        colours[..., 0] = contrasted
        return np.asarray(cv2.cvtColor(colours, cv2.COLOR_YCrCb2RGB), np.uint8)


def enlarged(frame: Frame, factor: int) -> Frame:
    """A frame whose pixels are squares of so many pixels, so that small pictures can be seen as they are."""
    if factor == 1:
        return frame
    rows, columns = frame.shape[:2]
    size = (columns * factor, rows * factor)
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def enlargement(shape: tuple[int, ...], at_least: int, at_most: int | None = None) -> int:
    """By which whole factor a picture is enlarged.

    Args:
        shape: Of the picture: (rows, columns), or (rows, columns, 3).
        at_least: Its long side becomes at least so many pixels, the fewest that a whole factor gives.
        at_most: But not more than this, where given.
    """
    longest = max(shape[:2])
    factor = -(-at_least // longest)
    return max(1, min(factor, at_most // longest) if at_most else factor)
