"""From a section to a frame of the movie: a chain of pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from mrc2movie.contrast import GreyRange, not_finite, to_8bit
from mrc2movie.settings import Settings

Frame: TypeAlias = NDArray[np.uint8]
"""(h, w) uint8, row 0 at the top of the picture; (h, w, 3) red, green, blue where in colour."""


class Step(Protocol):
    """A pure function of a section, done before its grey values are measured, and again before they are shown."""

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """What becomes of a section of this shape: (rows, columns), or (rows, columns, 3) in colour."""

    def __call__(self, section: NDArray[np.generic]) -> NDArray[np.generic]:
        """The section as the next step takes it: (y, x), any real native dtype."""


@dataclass(frozen=True)
class Shrink:
    """Sections made smaller where their long side is longer; never larger.

    A pixel is the mean of the area that it covers; it is not finite where any voxel of this area is not.

    Attributes:
        long_side: Pixels at most.
    """

    long_side: int

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Rows and columns, their ratio kept as well as whole numbers can."""
        longest = max(shape[:2])
        if longest <= self.long_side:
            return shape
        rows, columns = (max(1, round(side * self.long_side / longest)) for side in shape[:2])
        return rows, columns, *shape[2:]

    def __call__(self, section: NDArray[np.generic]) -> NDArray[np.generic]:
        """Shrink: float32, or float64 where the voxels need it."""
        shape = self.shape(section.shape)
        if shape == section.shape:
            return section
        precise = section.astype(np.result_type(section.dtype, np.float32), copy=False)
        return np.asarray(cv2.resize(precise, (shape[1], shape[0]), interpolation=cv2.INTER_AREA))


def preparation(settings: Settings) -> Sequence[Step]:
    """What is done to every section, in this order: before the grey range, so that this fits what is shown."""
    steps: list[Step] = []
    if settings.max_size:
        steps.append(Shrink(settings.max_size))
    return steps


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
    """Renders the sections of one movie, in one thread: OpenCV's CLAHE is not to be shared, nor are the buffers.

    The frames lie in the same memory one after the other: memory that is new for every section costs as much as to
    convert it. Each stays what it is until the next one is rendered.

    Args:
        look: How.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        tiles = (look.tile_grid_size, look.tile_grid_size)
        equalise = look.clip_limit > 0 and not look.grey_range.constant
        self._clahe = cv2.createCLAHE(look.clip_limit, tiles) if equalise else None
        self._grey = np.empty(0, np.uint8)
        self._equalised = np.empty(0, np.uint8)

    def __call__(self, section: NDArray[np.generic]) -> Frame:
        """Render one section, (y, x) of any real native dtype or (y, x, 3) in colour."""
        look = self._look
        if self._grey.shape != section.shape:
            self._grey = np.empty(section.shape, np.uint8)
            self._equalised = np.empty(section.shape, np.uint8)
        frame = to_8bit(section, look.grey_range, look.row0_at_bottom, self._grey)
        if self._clahe is None:
            return frame
        if frame.ndim == 3:  # only the lightness is equalised, so that hues stay what they are
            lightness = cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb)
            lightness[..., 0] = self._clahe.apply(lightness[..., 0])
            return np.asarray(cv2.cvtColor(lightness, cv2.COLOR_YCrCb2RGB), np.uint8)
        equalised = np.asarray(self._clahe.apply(frame, self._equalised), np.uint8)
        if look.grey_range.nonfinite:
            equalised[not_finite(section, look.row0_at_bottom)] = 0
        return equalised
