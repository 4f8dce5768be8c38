"""Points in a volume as circles: the section of a sphere around each, at the depth that is shown."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mrc2movie.picture.geometry import Geometry
from mrc2movie.picture.overlays import Colour, ColourStamp, Legend, line_width, ring, ring_shape
from mrc2movie.picture.render import Frame
from mrc2movie.picture.selection import Selection

_SMALLEST = 1.5
"""Pixels: a circle is not drawn with a smaller radius, where it could not be seen."""

_STEPS = 4
"""Circles are drawn at a quarter of a pixel, and with a quarter of a pixel of radius: there are then few different."""

_STAMPS = 1024


@dataclass(frozen=True)
class Circle:
    """A circle on a frame, or an ellipse where pixels are not square.

    Attributes:
        column: Of its centre.
        row: Of its centre.
        radii: Along (columns, rows), in pixels.
        kind: Its class.
    """

    column: float
    row: float
    radii: tuple[float, float]
    kind: int


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
        self._stamp = lru_cache(_STAMPS)(self._drawn)

    @property
    def legend(self) -> Legend:
        """The classes that have a name."""
        return [(name, colour) for name, colour in zip(self._names, self._colours, strict=True) if name]

    def circles(self, position: int) -> list[Circle]:
        """What is seen at a position of the movie, whole or in part: the largest section within the slab shown."""
        numbers = np.sort(np.array(self._selection.neighbours(position)))
        low, high = float(numbers[0]), float(numbers[-1])
        # Half a plane more: at its nearest section a point is seen even where its sphere is smaller than a voxel.
        reach = max(self._reach, 0.5)
        begin = np.searchsorted(self._planes[self._everywhere :], low - reach, "left")
        end = np.searchsorted(self._planes[self._everywhere :], high + reach, "right")
        chosen = np.r_[0 : self._everywhere, self._everywhere + begin : self._everywhere + end]
        depth = np.nan_to_num(np.abs(self._planes[chosen, None] - numbers).min(axis=1))
        radii = self._radii[chosen]
        squares = np.square(radii) - np.square(depth * self._spacing[0])
        seen = (squares > 0) | (depth <= 0.5)
        down, across = self._geometry.voxels_per_pixel
        found = []
        for place, square in zip(chosen[seen].tolist(), squares[seen].tolist(), strict=True):
            radius = math.sqrt(max(square, 0.0))
            circle = Circle(
                float(self._columns[place]),
                float(self._rows[place]),
                (
                    max(radius / (across * self._spacing[1]), _SMALLEST),
                    max(radius / (down * self._spacing[2]), _SMALLEST),
                ),
                int(self._classes[place]),
            )
            if self._is_on_frame(circle):
                found.append(circle)
        return found

    def _is_on_frame(self, circle: Circle) -> bool:
        rows, columns = self._geometry.shape
        return (
            -circle.radii[0] < circle.column + 0.5 < columns + circle.radii[0]
            and -circle.radii[1] < circle.row + 0.5 < rows + circle.radii[1]
        )

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
        for circle in self.circles(position):
            radii = tuple(round(radius * _STEPS) for radius in circle.radii)
            column, row = round(circle.column * _STEPS), round(circle.row * _STEPS)
            shape = ring_shape((radii[0] / _STEPS, radii[1] / _STEPS), self._width)
            stamp = self._stamp(radii, column % _STEPS, row % _STEPS, circle.kind)
            stamp.draw(frame, row // _STEPS - shape[0] // 2 + 1, column // _STEPS - shape[1] // 2 + 1)

    def _drawn(self, radii: tuple[int, int], across: int, down: int, kind: int) -> ColourStamp:
        pixels = radii[0] / _STEPS, radii[1] / _STEPS
        rows, columns = ring_shape(pixels, self._width)
        centre = columns // 2 - 1 + across / _STEPS, rows // 2 - 1 + down / _STEPS
        return ring(pixels, centre, self._width, self._colours[kind])
