"""Points in a volume as circles: the section of a sphere around each, at the depth that is shown."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mrc2movie.picture.geometry import Geometry
from mrc2movie.picture.overlays import Colour, ColourStamp, Legend, line_width, ring, ring_shape
from mrc2movie.picture.render import Frame
from mrc2movie.picture.selection import Selection

_SMALLEST = 1.5
"""Pixels: a circle is not drawn with a smaller radius, where it could not be seen."""

_STEPS = 2
"""Circles are drawn at half a pixel, and with half a pixel of radius: there are then few different, each drawn once."""

_STAMPS = 2048

Circles: TypeAlias = "tuple[NDArray[np.intp], NDArray[np.float64]]"
"""Which points are seen, (n,), and the radii of their circles along (columns, rows) in pixels, (n, 2)."""


class Spheres:
    """Points as spheres, cut by the sections of one movie.

    Args:
        places: (n, 3), x, y, z in voxels of the file, whole numbers are their middles; z is NaN where a point lies in
            every section.
        radii: (n,), in voxels along x.
        classes: (n,), the place among the names.
        names: Of the classes.
        colours: Of the classes.
        spacing: Of the voxels along (x, y, z), relative to that along x.
        geometry: Of the frames.
        selection: The sections shown: the planes of the geometry.
    """

    def __init__(
        self,
        places: NDArray[np.float64],
        radii: NDArray[np.float64],
        classes: NDArray[np.intp],
        names: Sequence[str],
        colours: Sequence[Colour],
        spacing: tuple[float, float, float],
        geometry: Geometry,
        selection: Selection,
    ) -> None:
        planes, columns, rows = geometry.to_pixel(places[:, 0], places[:, 1], places[:, 2])
        self._spacing = geometry.seen(*spacing)
        everywhere = np.isnan(planes)
        order = np.argsort(np.where(everywhere, -np.inf, planes), kind="stable")
        self._everywhere = int(everywhere.sum())
        self._planes, self._columns, self._rows, self._radii, self._classes = (
            values[order] for values in (planes, columns, rows, radii, classes)
        )
        self._reach = float(radii.max(initial=0)) / self._spacing[0]
        self._names, self._colours = names, colours
        self._geometry, self._selection = geometry, selection
        self._width = line_width(geometry.shape)
        self._pixel = np.array(
            [geometry.voxels_per_pixel[1] * self._spacing[1], geometry.voxels_per_pixel[0] * self._spacing[2]]
        )
        steps = np.rint(np.stack([self._columns, self._rows], axis=1) * _STEPS).astype(np.intp)
        self._drawn = [
            (column, row, kind) for (column, row), kind in zip(steps.tolist(), self._classes.tolist(), strict=True)
        ]
        self._stamp = lru_cache(_STAMPS)(self._ring)

    @property
    def legend(self) -> Legend:
        """The classes that have a name."""
        return [(name, colour) for name, colour in zip(self._names, self._colours, strict=True) if name]

    def circles(self, position: int) -> Circles:
        """What is seen at a position of the movie, whole or in part: the largest section within the slab shown."""
        numbers = np.sort(np.array(self._selection.neighbours(position)))
        # Half a plane more: at its nearest section a point is seen even where its sphere is smaller than a voxel.
        reach = max(self._reach, 0.5)
        begin = np.searchsorted(self._planes[self._everywhere :], numbers[0] - reach, "left")
        end = np.searchsorted(self._planes[self._everywhere :], numbers[-1] + reach, "right")
        chosen = np.r_[0 : self._everywhere, self._everywhere + begin : self._everywhere + end]
        depth = np.nan_to_num(np.abs(self._planes[chosen, None] - numbers).min(axis=1))
        squares = np.square(self._radii[chosen]) - np.square(depth * self._spacing[0])
        radii = np.sqrt(squares.clip(0))[:, None] / self._pixel
        radii = radii.clip(_SMALLEST)
        rows, columns = self._geometry.shape
        seen = (squares > 0) | (depth <= 0.5)
        for centre, radius, side in ((self._columns, radii[:, 0], columns), (self._rows, radii[:, 1], rows)):
            middle = centre[chosen] + 0.5
            seen &= (-radius < middle) & (middle < side + radius)
        return chosen[seen], radii[seen]

    def count_shown(self) -> int:
        """How many of the points are seen in any section shown, with their centre in the picture."""
        rows, columns = self._geometry.shape
        framed = (np.abs(2 * self._columns + 1 - columns) <= columns) & (np.abs(2 * self._rows + 1 - rows) <= rows)
        numbers = np.unique(np.array(self._selection.kept))
        after = np.searchsorted(numbers, self._planes).clip(0, len(numbers) - 1)
        nearest = np.minimum(
            np.abs(self._planes - numbers[after]), np.abs(self._planes - numbers[np.maximum(after - 1, 0)])
        )
        nearest = np.nan_to_num(nearest)
        met = (nearest * self._spacing[0] < self._radii) | (nearest <= 0.5)
        return int((framed & met).sum())

    def draw(self, frame: Frame, position: int) -> None:
        """Draw the circles onto a frame, (h, w, 3), in place."""
        chosen, radii = self.circles(position)
        steps = np.rint(radii * _STEPS).astype(np.intp).tolist()
        for point, (across, down) in zip(chosen.tolist(), steps, strict=True):
            column, row, kind = self._drawn[point]
            stamp, above, before = self._stamp(across, down, column % _STEPS, row % _STEPS, kind)
            stamp.draw(frame, row // _STEPS - above, column // _STEPS - before)

    def _ring(self, across: int, down: int, column: int, row: int, kind: int) -> tuple[ColourStamp, int, int]:
        """A circle, and how many rows and columns of its stamp are above and before its centre; all in steps."""
        radii = across / _STEPS, down / _STEPS
        rows, columns = ring_shape(radii, self._width)
        above, before = rows // 2 - 1, columns // 2 - 1
        centre = before + column / _STEPS, above + row / _STEPS
        return ring(radii, centre, self._width, self._colours[kind]), above, before
