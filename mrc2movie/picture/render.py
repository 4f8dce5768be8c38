"""From a prepared section to a frame of the movie: greys, local contrast."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from mrc2movie.picture.greys import GreyRange, not_finite, to_8bit

Frame: TypeAlias = NDArray[np.uint8]
"""(h, w) uint8, row 0 at the top of the picture; (h, w, 3) red, green, blue where in colour."""


@dataclass(frozen=True)
class RenderOptions:
    """How the sections of one movie are rendered.

    Attributes:
        grey_range: What becomes black and white.
        row0_at_bottom: Whether row 0 of a section is the bottom of the picture.
        clip_limit: Of CLAHE; 0 is none.
        tile_grid_size: CLAHE works on so many tiles in each direction.
        invert: Whether black is shown as white.
        shifts: What is to be added to the voxels at each position; nothing where it is empty.
    """

    grey_range: GreyRange
    row0_at_bottom: bool
    clip_limit: float
    tile_grid_size: int
    invert: bool = False
    shifts: Sequence[float] = ()


class Renderer:
    """Renders the sections of one movie, in one thread: OpenCV's CLAHE is not to be shared, nor are the buffers.

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
        tiles = (options.tile_grid_size, options.tile_grid_size)
        equalise = options.clip_limit > 0 and not options.grey_range.constant
        self._clahe = cv2.createCLAHE(options.clip_limit, tiles) if equalise else None
        self._grey = np.empty(0, np.uint8)
        self._contrasted = np.empty(0, np.uint8)

    def __call__(self, section: NDArray[np.generic], position: int = 0) -> Frame:
        """Render one section, (y, x) of any real native dtype or (y, x, 3) in colour, at a position of the movie."""
        options = self._options
        if self._grey.shape != section.shape:
            self._grey = np.empty(section.shape, np.uint8)
            self._contrasted = np.empty(section.shape, np.uint8)
        grey_range = options.grey_range.shifted_by(options.shifts[position] if options.shifts else 0.0)
        frame = to_8bit(section, grey_range, options.row0_at_bottom, self._grey)
        if self._clahe is not None:
            frame = self._equalised(frame)
        if options.invert:
            cv2.bitwise_not(frame, frame)
        if options.grey_range.nonfinite and (options.invert or self._clahe is not None):
            frame[not_finite(section, options.row0_at_bottom)] = 0
        return frame

    def _equalised(self, frame: Frame) -> Frame:
        assert self._clahe is not None
        if frame.ndim == 2:
            return np.asarray(self._clahe.apply(frame, self._contrasted), np.uint8)
        lightness = cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb)  # only this is equalised, so that hues stay what they are
        lightness[..., 0] = self._clahe.apply(lightness[..., 0])
        return np.asarray(cv2.cvtColor(lightness, cv2.COLOR_YCrCb2RGB), np.uint8)
