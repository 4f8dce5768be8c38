"""Contours and surfaces in a volume as lines: what of them lies in the slab that is shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mrc2movie.picture.geometry import Geometry
from mrc2movie.picture.overlays import Colour, draw_lines, line_width
from mrc2movie.picture.render import Frame
from mrc2movie.picture.selection import Selection

Segments: TypeAlias = NDArray[np.float64]
"""(n, 2, 3): the two ends of each, by plane, column and row of a frame."""


@dataclass(frozen=True)
class Shape:
    """Lines and surfaces of one colour.

    Attributes:
        lines: Each (n, 3), x, y, z in voxels of the file, whole numbers are their middles; closed ones end where they
            begin.
        triangles: (n, 3, 3), the corners of triangles, so as well.
        colour: Of both.
    """

    lines: Sequence[NDArray[np.float64]]
    triangles: NDArray[np.float64]
    colour: Colour


class Outlines:
    """Shapes, cut by the sections of one movie.

    A shape's own lines are shown where it has some in the slab, since somebody drew them; else the cut of its surface.
    Lines were drawn on sections: across these they would only be dots, so there a surface comes first.

    Args:
        shapes: The later ones are drawn over the earlier ones.
        geometry: Of the frames.
        selection: The sections shown: the planes of the geometry.
    """

    def __init__(self, shapes: Sequence[Shape], geometry: Geometry, selection: Selection) -> None:
        self._parts = [(_segments(shape, geometry), len(shape.triangles) > 0, shape.colour) for shape in shapes]
        corners = [_corners(shape, geometry) for shape in shapes]
        self._corners = np.concatenate([np.empty((0, 3, 3)), *corners])
        self._owners = np.repeat(np.arange(len(shapes)), [len(each) for each in corners])
        self._lines_first = geometry.axis == "z"
        self._selection = selection
        self._width = line_width(geometry.shape)

    def draw(self, frame: Frame, position: int) -> None:
        """Draw the lines onto a frame, (h, w, 3), in place."""
        for lines, colour in self.lines(position):
            draw_lines(frame, lines, self._width, colour)

    def lines(self, position: int) -> list[tuple[NDArray[np.float64], Colour]]:
        """What is seen at a position of the movie: (n, 2, 2), the ends of lines by (column, row), and their colour."""
        numbers = self._selection.neighbours(position)
        low, high = min(numbers), max(numbers)
        plane = (low + high) / 2
        met = (self._corners[:, 0, 0] <= plane) & (plane < self._corners[:, 2, 0])
        edges = cut(self._corners[met], plane)  # of all shapes at once
        ends = np.searchsorted(self._owners[met], np.arange(len(self._parts) + 1))
        found = []
        for (segments, has_surface, colour), begin, end in zip(self._parts, ends[:-1], ends[1:], strict=True):
            lines = within(segments, low - 0.5, high + 0.5) if len(segments) else edges[:0]
            if has_surface and not (self._lines_first and len(lines)):
                lines = edges[begin:end]
            if len(lines):
                found.append((lines, colour))
        return found


def _segments(shape: Shape, geometry: Geometry) -> Segments:
    """The pieces of all lines; a line of one point has no length."""
    pieces = [np.empty((0, 2, 3))]
    for line in shape.lines:
        placed = np.stack(geometry.to_pixel(line[:, 0], line[:, 1], line[:, 2]), axis=1)
        pieces.append(np.stack([placed[:-1], placed[1:]], axis=1) if len(placed) > 1 else placed[:, None].repeat(2, 1))
    segments = np.concatenate(pieces)
    return segments[np.argsort(segments[..., 0].min(axis=1), kind="stable")]


def _corners(shape: Shape, geometry: Geometry) -> NDArray[np.float64]:
    """The corners of all triangles, (n, 3, 3), those of each ascending by their plane."""
    x, y, z = np.moveaxis(shape.triangles, -1, 0)
    corners = np.stack(geometry.to_pixel(x, y, z), axis=-1)
    return np.take_along_axis(corners, np.argsort(corners[..., 0], axis=1, kind="stable")[..., None], axis=1)


def within(segments: Segments, low: float, high: float) -> NDArray[np.float64]:
    """The parts of segments whose plane is from `low` on and below `high`: (n, 2, 2), their ends by (column, row).

    Args:
        segments: Ascending by the lower plane of each.
        low: The lowest plane.
        high: The plane above the highest.
    """
    before = segments[: np.searchsorted(segments[..., 0].min(axis=1), high)]
    met = before[before[..., 0].max(axis=1) >= low]
    begin, end = met[:, 0, 0], met[:, 1, 0]
    length = np.where(begin == end, 1, end - begin)
    ends = np.stack([(low - begin) / length, (high - begin) / length], axis=1)
    ends = np.where((begin == end)[:, None], (0.0, 1.0), np.sort(ends, axis=1)).clip(0, 1)
    places = met[:, 0, 1:], met[:, 1, 1:]
    return np.stack([places[0] + share[:, None] * (places[1] - places[0]) for share in ends.T], axis=1)


def cut(corners: NDArray[np.float64], plane: float) -> NDArray[np.float64]:
    """Where triangles are cut by a plane: (n, 2, 2), the ends of lines by (column, row).

    Args:
        corners: (n, 3, 3), by plane, column and row, those of each triangle ascending by their plane.
        plane: The plane.
    """
    met = corners[(corners[:, 0, 0] <= plane) & (plane < corners[:, 2, 0])]
    lowest, middle, highest = (met[:, place] for place in range(3))
    upper = (plane >= middle[:, 0])[:, None]
    across = _at(lowest, highest, plane)
    return np.stack([across, np.where(upper, _at(middle, highest, plane), _at(lowest, middle, plane))], axis=1)


def _at(begin: NDArray[np.float64], end: NDArray[np.float64], plane: float) -> NDArray[np.float64]:
    """Where edges meet a plane, (n, 2); anything for those that do not."""
    length = end[:, :1] - begin[:, :1]
    share = (plane - begin[:, :1]) / np.where(length == 0, 1, length)
    return np.asarray(begin[:, 1:] + share * (end[:, 1:] - begin[:, 1:]), np.float64)
