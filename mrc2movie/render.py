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
    """Renders the sections of one movie, in one thread: it owns buffers, and OpenCV's CLAHE is not to be shared.

    Args:
        look: How.
        shape: Of the sections: (rows, columns), or (rows, columns, 3) in colour.
    """

    def __init__(self, look: Look, shape: tuple[int, ...]) -> None:
        self._look = look
        self._grey = np.empty(shape, np.uint8)
        tiles = (look.tile_grid_size, look.tile_grid_size)
        equalise = look.clip_limit > 0 and not look.grey_range.constant
        self._clahe = cv2.createCLAHE(look.clip_limit, tiles) if equalise else None
        self._equalised = np.empty_like(self._grey) if equalise else self._grey

    def __call__(self, section: NDArray[np.generic]) -> Frame:
        """Render one section, (y, x) of any real native dtype or (y, x, 3) in colour.

        The frame is good until the next one is rendered.
        """
        to_8bit(section, self._look.grey_range, self._grey)
        if self._look.row0_at_bottom:
            cv2.flip(self._grey, 0, self._grey)
        if self._clahe is None:
            return self._grey
        if section.ndim == 3:  # only the lightness is equalised, so that hues stay what they are
            lightness = cv2.cvtColor(self._grey, cv2.COLOR_RGB2YCrCb)
            lightness[..., 0] = self._clahe.apply(lightness[..., 0])
            return np.asarray(cv2.cvtColor(lightness, cv2.COLOR_YCrCb2RGB), np.uint8)
        self._clahe.apply(self._grey, self._equalised)
        if self._look.grey_range.nonfinite:
            upright = section[::-1] if self._look.row0_at_bottom else section
            self._equalised[~np.isfinite(upright)] = 0
        return self._equalised
