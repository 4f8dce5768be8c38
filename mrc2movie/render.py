"""From a section to a frame of the movie: a chain of pure functions."""

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from mrc2movie.contrast import GreyRange, to_8bit

Frame: TypeAlias = NDArray[np.uint8]
"""(h, w) uint8, row 0 at the top of the picture; (h, w, 3) red, green, blue where in colour."""


@dataclass(frozen=True)
class Look:
    """How the sections of one movie are rendered.

    Attributes:
        grey_range: What becomes black and white.
        row0_at_bottom: Whether row 0 of a section is the bottom of the picture.
        clip_limit: Of CLAHE; 0 is none.
        tile_grid_size: CLAHE works on so many tiles in each direction.
    """

    grey_range: GreyRange
    row0_at_bottom: bool
    clip_limit: float
    tile_grid_size: int


class Renderer:
    """Renders the sections of one movie, in one thread: OpenCV's CLAHE object is not to be shared.

    Args:
        look: How.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        tiles = (look.tile_grid_size, look.tile_grid_size)
        self._clahe = cv2.createCLAHE(look.clip_limit, tiles) if look.clip_limit else None

    def __call__(self, section: NDArray[np.generic]) -> Frame:
        """Render one section, (y, x) of any real native dtype or (y, x, 3) in colour."""
        look = self._look
        upright = section[::-1] if look.row0_at_bottom else section
        frame = to_8bit(upright, look.grey_range)
        if self._clahe is None or look.grey_range.constant:
            return frame
        if frame.ndim == 3:  # only the lightness is equalised, so that hues stay what they are
            lightness = cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb)
            lightness[..., 0] = self._clahe.apply(lightness[..., 0])
            return np.asarray(cv2.cvtColor(lightness, cv2.COLOR_YCrCb2RGB), np.uint8)
        equalised = np.asarray(self._clahe.apply(frame), np.uint8)
        if look.grey_range.nonfinite:
            equalised[~np.isfinite(upright)] = 0
        return equalised
