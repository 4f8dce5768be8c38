"""Where a voxel of the file lies in the frames of the movie, and back."""

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", float, NDArray[np.floating[Any]])
"""One number, or an array of them."""

_IN_PLANE = {"z": (0, 1, 2), "y": (0, 2, 1), "x": (1, 2, 0)}
"""For each axis along which planes follow each other: which of a voxel's (x, y, z) is the column, the row and the
number of a plane."""


@dataclass(frozen=True)
class Geometry:
    """The way from voxels to pixels.

    A voxel (x, y, z) is a column, row and section of the file; a pixel (column, row) of a frame counts from the upper
    left. Whole numbers are centres in both. The pixels of a plane cover equal areas of voxels, from its first voxel on.

    Attributes:
        shape: Rows and columns of a frame.
        axis: The planes that are shown follow each other along this axis of the file.
        voxels_per_pixel: How many voxels of a plane a pixel covers, along (rows, columns).
        row0_at_bottom: Whether the first row of a plane is the bottom of the picture.
        origin: Row and column of the first voxel of a plane that is shown, where planes are cropped.
    """

    shape: tuple[int, int]
    axis: Literal["z", "y", "x"] = "z"
    voxels_per_pixel: tuple[float, float] = (1.0, 1.0)
    row0_at_bottom: bool = True
    origin: tuple[float, float] = (0.0, 0.0)

    def seen(self, x: Number, y: Number, z: Number) -> tuple[Number, Number, Number]:
        """Along planes, columns and rows what is along x, y and z."""
        voxel = (x, y, z)
        column, row, plane = (voxel[place] for place in _IN_PLANE[self.axis])
        return plane, column, row

    def to_pixel(self, x: Number, y: Number, z: Number) -> tuple[Number, Number, Number]:
        """Plane, column and row of a frame in which a voxel lies, or voxels."""
        plane, column, row = self.seen(x, y, z)
        down, across = self.voxels_per_pixel
        top, left = self.origin
        return plane, (column - left + 0.5) / across - 0.5, self._turned((row - top + 0.5) / down - 0.5)

    def to_voxel(self, plane: float, column: float, row: float) -> tuple[float, float, float]:
        """The voxel (x, y, z) that lies at a place of a frame."""
        down, across = self.voxels_per_pixel
        top, left = self.origin
        found = ((column + 0.5) * across - 0.5 + left, (self._turned(row) + 0.5) * down - 0.5 + top, plane)
        x, y, z = (found[_IN_PLANE[self.axis].index(direction)] for direction in range(3))
        return x, y, z

    def pixel_size_A(self, spacing_A: tuple[float, float]) -> tuple[float, float]:
        """The size of a pixel in Å along (columns, rows), from that of the voxels of a plane in the same order."""
        down, across = self.voxels_per_pixel
        return spacing_A[0] * across, spacing_A[1] * down

    def _turned(self, row: Number) -> Number:
        return self.shape[0] - 1 - row if self.row0_at_bottom else row
