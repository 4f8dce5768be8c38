"""A volume in three directions at once: its sections one after the other, and beside them its middle from the side."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError
from mrc2movie.picture.geometry import Geometry
from mrc2movie.picture.render import Frame

_MOST_PLANES = 16384
"""More are no volume, and no picture could show them side by side."""
_GAP_SHARE = 1 / 200
_LINE_SHARE = 1 / 600
_VEIL = 0.5
"""Of the picture, beside the lines of the crosshairs."""


class Cuts:
    """The slabs through the middle of a volume that its sections show edge-on, collected as these pass by.

    Args:
        numbers: The sections that are shown.
        shape: Of each as it is prepared: (rows, columns), or (rows, columns, 3).
        thickness: Of the slabs, in (rows, columns).

    Attributes:
        first: The lowest section.
        step: From one plane to the next, in sections.
        rows: Those in the slab across the rows.
        columns: Those in the slab across the columns.
        across_rows: (planes, columns) float64; NaN where a section between others is not shown.
        across_columns: (planes, rows) float64, so as well.

    Raises:
        InputError: There are more sections than a volume has.
    """

    def __init__(self, numbers: Sequence[int], shape: tuple[int, ...], thickness: tuple[int, int]) -> None:
        if len(numbers) > _MOST_PLANES:
            raise InputError(f"has {len(numbers)} sections, too many for --view ortho", "show fewer (--every, --only)")
        ordered = sorted(numbers)
        self.first = ordered[0]
        self.step = min((after - before for before, after in pairwise(ordered)), default=1)
        self._places = {number: round((number - self.first) / self.step) for number in ordered}
        planes = 1 + self._places[ordered[-1]]
        if planes > _MOST_PLANES:
            raise InputError("leaves out too many sections in its middle for --view ortho", "leave out fewer")
        self.rows, self.columns = (_middle(side, thick) for side, thick in zip(shape, thickness, strict=False))
        self.across_rows = np.full((planes, *shape[1:]), np.nan)
        self.across_columns = np.full((planes, shape[0], *shape[2:]), np.nan)

    def take(self, number: int, section: NDArray[np.generic]) -> None:
        """Take a prepared section of this number, in any order and from any thread; others than those shown pass by."""
        place = self._places.get(number)
        if place is not None:
            rows, columns = self.rows, self.columns
            section[rows.start : rows.stop].mean(axis=0, dtype=np.float64, out=self.across_rows[place])
            section[:, columns.start : columns.stop].mean(axis=1, dtype=np.float64, out=self.across_columns[place])

    def place(self, number: int) -> int:
        """Which plane a section shown is."""
        return self._places[number]


def _middle(side: int, thick: int) -> range:
    thick = min(thick, side)
    first = (side - thick) // 2
    return range(first, first + thick)


def resized(image: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """An image in another (rows, columns): means where it becomes smaller, between its pixels where larger."""
    for rows, columns in ((shape[0], image.shape[1]), shape):
        smaller = (rows, columns) < image.shape[:2]
        how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, (columns, rows), interpolation=how), np.float64)
    return image


class Ortho:
    """Frames with the section at the upper left, at its right the slab across columns, below it that across rows.

    Crosshairs show where each lies in the others. In the picture below the planes go up, in that at the right they go
    to the right.

    Args:
        below: (depth, columns), the frame of the slab across rows.
        right: (rows, depth), the frame of the slab across columns.
        cuts: What they are made of.
        geometry: Of the frames of sections.
        enlarge: So many pixels of a frame are one of a prepared section.
        numbers: The section at each position.
    """

    def __init__(
        self, below: Frame, right: Frame, cuts: Cuts, geometry: Geometry, enlarge: int, numbers: Sequence[int]
    ) -> None:
        rows, columns = geometry.shape
        gap = 2 * max(1, round(_GAP_SHARE * min(rows, columns) / 2))
        depth = below.shape[0]
        self._across, self._down = columns + gap, rows + gap
        self.shape = (self._down + depth, self._across + depth, *below.shape[2:])
        self._background = np.zeros(self.shape, np.uint8)
        self._background[self._down :, :columns] = below
        self._background[:rows, self._across :] = right
        self._thick = max(1, round(_LINE_SHARE * min(rows, columns)))
        row, self._column = (
            round((middle.start + middle.stop) / 2 * enlarge - 0.5) for middle in (cuts.rows, cuts.columns)
        )
        self._row = rows - 1 - row if geometry.row0_at_bottom else row
        self._panel = rows, columns
        self._depth, self._planes = depth, len(cuts.across_rows)
        self._cuts, self._numbers = cuts, numbers

    def arrange(self, canvas: Frame, frame: Frame, position: int) -> None:
        """Put the frame of the section at a position onto a canvas, and what stands beside it; see `Layout`."""
        canvas[...] = self._background if canvas.ndim == self._background.ndim else self._background[..., None]
        rows, columns = self._panel
        canvas[:rows, :columns] = frame
        plane = self._cuts.place(self._numbers[position])
        depth = round((plane + 0.5) / self._planes * self._depth - 0.5)
        _cross(canvas[:rows, :columns], self._row, self._column, self._thick)
        _cross(canvas[self._down :, :columns], self._depth - 1 - depth, self._column, self._thick)
        _cross(canvas[:rows, self._across :], self._row, depth, self._thick)

    def follow(self) -> Callable[[int], object]:
        """All is there already."""
        return lambda position: None


def _cross(panel: Frame, row: int, column: int, thick: int) -> None:
    """Two white lines through a place, with a veil on either side, so that they read on any grey."""
    for along, place in ((panel, row), (panel.swapaxes(0, 1), column)):
        first = place - (thick - 1) // 2
        veil = along[max(0, first - 1) : first + thick + 1]
        veil[...] = (veil * _VEIL).astype(np.uint8)
    for along, place in ((panel, row), (panel.swapaxes(0, 1), column)):
        first = max(0, place - (thick - 1) // 2)
        along[first : first + thick] = 255
