"""Segmentations over a section: the outline of a feature, and a faint fill that leaves what is below to be seen."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError
from mrc2movie.picture.geometry import Geometry
from mrc2movie.picture.overlays import Colour, ColourStamp

Mask: TypeAlias = NDArray[np.uint8]
"""(h, w): 255 in a feature, 0 elsewhere, and between them at antialiased edges."""

_FILL = 41
"""Of 255 of the colour, in the fill. The rim of the outline is half black."""
_SHARPER = 4.0
_COARSE, _SMOOTH = 2 / 3, 0.5
"""Where a voxel of the mask has more than 1.5 pixels, its corners are rounded off: by a Gaussian of half a voxel."""
_EXACT = 1e-6
_TILE = 512
"""Pixels: where a square of a frame has nothing of a feature, nothing is done."""
_AROUND = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))


@dataclass(frozen=True)
class MaskGeometry:
    """The way from frames to the sections of a mask, which may be binned.

    Attributes:
        geometry: Of the frames.
        factors: How many voxels of the volume a voxel of the mask has along (planes, columns, rows); may be less
            than one.
        shape: Of the mask's planes: (rows, columns).
        planes: Their number.
    """

    geometry: Geometry
    factors: tuple[float, float, float]
    shape: tuple[int, int]
    planes: int

    @classmethod
    def of(cls, geometry: Geometry, volume: tuple[int, int, int], mask: tuple[int, int, int]) -> "MaskGeometry":
        """How a mask lies over a volume.

        Args:
            geometry: Of the frames.
            volume: (planes, rows, columns) of the volume, in the direction in which it is shown.
            mask: So of the mask.

        Raises:
            InputError: It is neither as large as the volume nor binned, nor is the volume.
        """
        factors = [_factor(whole, part) for whole, part in zip(volume, mask, strict=True)]
        known = [factor for factor in factors if factor]
        if len(known) < len(factors) or max(known) > 1.01 * min(known):
            sizes = " x ".join(map(str, mask[::-1])), " x ".join(map(str, volume[::-1]))
            raise InputError(
                f"has {sizes[0]} voxels, and the volume has {sizes[1]}: neither as many nor binned ones",
                "is it of another volume?",
            )
        return cls(geometry, (known[0], known[2], known[1]), mask[1:], mask[0])

    def plane(self, number: float) -> int:
        """The plane of the mask in which one of the volume lies."""
        return min(max(0, int((number + 0.5) / self.factors[0])), self.planes - 1)

    def matrix(self) -> NDArray[np.float64]:
        """(2, 3): from (column, row, 1) of a frame to column and row of a plane of the mask."""
        places = [self.geometry.seen(*self.geometry.to_voxel(0.0, *pixel))[1:] for pixel in ((0, 0), (1, 0), (0, 1))]
        origin, across, down = (
            [(place + 0.5) / factor - 0.5 for place, factor in zip(each, self.factors[1:], strict=True)]
            for each in places
        )
        return np.array(
            [[across[place] - origin[place], down[place] - origin[place], origin[place]] for place in range(2)]
        )

    def on_frame(self, feature: Mask) -> tuple[Mask, int, int] | None:
        """A feature of a plane of the mask as it lies on a frame, and the row and column where that begins.

        Args:
            feature: (rows, columns) of the mask: 255 where the feature is, else 0.

        Returns:
            None where none of it lies on the frame.
        """
        left, top, width, height = cv2.boundingRect(feature)
        if not width:
            return None
        matrix = self.matrix()
        back = cv2.invertAffineTransform(matrix)
        # The edges of the voxels around it, as edges of pixels: these are whole numbers where the two fall together.
        edges = np.array([(left - 1.5, top - 1.5, 1), (left + width + 0.5, top + height + 0.5, 1)]) @ back.T + 0.5
        rows, columns = self.geometry.shape
        low = np.floor(edges.min(axis=0) + _EXACT).clip(0, (columns, rows)).astype(int)
        high = np.ceil(edges.max(axis=0) - _EXACT).clip(0, (columns, rows)).astype(int)
        if (high <= low).any():
            return None
        matrix[:, 2] += matrix[:, :2] @ low
        size = high - low
        scale = np.abs(np.diag(matrix))
        if scale.max() <= _COARSE:
            feature = np.asarray(cv2.GaussianBlur(feature, (3, 3), _SMOOTH), np.uint8)
        # Where the two ends of the frame lie on the mask, by (column, row), counted from the edge of the first voxel.
        ends = np.stack([matrix[:, 2] - np.diag(matrix) / 2, matrix[:, 2] + np.diag(matrix) * (size - 0.5)]) + 0.5
        if np.abs(ends - np.rint(ends)).max() < _EXACT:
            placed = _resized(feature, np.rint(ends).astype(int), size)
        else:
            placed = _warped(feature, matrix, scale, size)
        return placed, int(low[1]), int(low[0])


def _resized(feature: Mask, ends: NDArray[np.int_], size: NDArray[np.int_]) -> Mask:
    """What lies between whole voxels, (column, row) of both ends, in so many columns and rows: faster than a matrix."""
    (left, top), (right, bottom) = np.sort(ends, axis=0)
    # Beyond the edges there is nothing, and a voxel more on each side for the interpolation.
    rows, columns = feature.shape
    more = max(0, -top), max(0, bottom - rows), max(0, -left), max(0, right - columns)
    part = feature[max(0, top) : bottom, max(0, left) : right]
    if any(more):
        part = np.asarray(cv2.copyMakeBorder(part, *more, cv2.BORDER_CONSTANT), np.uint8)
    if part.shape != (size[1], size[0]):
        how = cv2.INTER_AREA if part.shape[1] > size[0] else cv2.INTER_LINEAR
        part = np.asarray(cv2.resize(part, size.tolist(), interpolation=how), np.uint8)
    flip = (ends[0] > ends[1]).tolist()
    return np.ascontiguousarray(part[:: -1 if flip[1] else 1, :: -1 if flip[0] else 1])


def _warped(feature: Mask, matrix: NDArray[np.float64], scale: NDArray[np.float64], size: NDArray[np.int_]) -> Mask:
    """What a matrix from pixels to voxels shows in so many columns and rows."""
    if scale.max() >= 2:  # a pixel covers several voxels of the mask: their mean, and not one of them
        smaller = (np.array(feature.shape[::-1]) / scale).round().astype(int).clip(1)
        ratio = smaller / feature.shape[::-1]
        feature = np.asarray(cv2.resize(feature, smaller.tolist(), interpolation=cv2.INTER_AREA), np.uint8)
        matrix = matrix * ratio[:, None]
        matrix[:, 2] += 0.5 * ratio - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(feature, matrix, size.tolist(), flags=flags), np.uint8)


def _factor(whole: int, part: int) -> float | None:
    """How many voxels of the whole one of the part has; None where that is no whole number, nor one by such."""
    large, small = max(whole, part), min(whole, part)
    factor = max(1, round(large / small))
    # Binning leaves out what fills no voxel, or fills it up.
    if abs(large / factor - small) >= 1:
        return None
    return float(factor) if whole >= part else 1 / factor


def paint_region(
    mask: Mask, top: int, left: int, shape: tuple[int, ...], colour: Colour, thick: int
) -> Sequence[tuple[ColourStamp, int, int]]:
    """A feature as it is drawn: stamps, and the row and column of the frame where each belongs.

    Args:
        mask: The feature.
        top: Row of the frame where the mask begins.
        left: Column where it begins.
        shape: Of the frames.
        colour: Of outline and fill.
        thick: Width of the outline in pixels, odd.
    """
    margin = thick // 2 + 1  # of the outline and its rim beyond the feature
    rows, columns = mask.shape
    stamps = []
    for begin, before in itertools.product(
        range(-margin, rows + margin, _TILE), range(-margin, columns + margin, _TILE)
    ):
        whole = _Tile(begin, before, min(begin + _TILE, rows + margin), min(before + _TILE, columns + margin))
        tile = whole.within(_Tile(-top, -left, shape[0] - top, shape[1] - left))
        known = tile.grown(margin).within(_Tile(0, 0, rows, columns))
        if tile.is_empty or known.is_empty:
            continue
        x, y, width, height = cv2.boundingRect(mask[known.top : known.bottom, known.left : known.right])
        if not width:
            continue
        begun = known.top + y, known.left + x
        tile = _Tile(*begun, begun[0] + height, begun[1] + width).grown(margin).within(tile)
        around = tile.grown(margin)
        known = around.within(_Tile(0, 0, rows, columns))
        part = mask[known.top : known.bottom, known.left : known.right]
        border = (
            known.top - around.top,
            around.bottom - known.bottom,
            known.left - around.left,
            around.right - known.right,
        )
        if any(border):
            part = np.asarray(cv2.copyMakeBorder(part, *border, cv2.BORDER_CONSTANT), np.uint8)
        kept, ink = (each[margin:-margin, margin:-margin] for each in _painted(part, thick))
        painted = cv2.merge([cv2.convertScaleAbs(ink, alpha=share / 255) for share in colour])
        stamp = ColourStamp(np.asarray(cv2.cvtColor(kept, cv2.COLOR_GRAY2RGB), np.uint8), np.asarray(painted, np.uint8))
        stamps.append((stamp, top + tile.top, left + tile.left))
    return stamps


@dataclass(frozen=True)
class _Tile:
    """Some rows and columns of a mask."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def is_empty(self) -> bool:
        return self.top >= self.bottom or self.left >= self.right

    def within(self, other: "_Tile") -> "_Tile":
        return _Tile(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )

    def grown(self, margin: int) -> "_Tile":
        return _Tile(self.top - margin, self.left - margin, self.bottom + margin, self.right + margin)


def _painted(mask: Mask, thick: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """How much of what is below a feature stays, and how much of its colour is added, both of 255."""
    # An edge that goes over several pixels becomes sharp, and stays antialiased.
    inside = np.asarray(cv2.addWeighted(mask, _SHARPER, mask, 0, 127.5 * (1 - _SHARPER)), np.uint8)
    kernel = _AROUND if thick == 3 else cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    edge = cv2.subtract(cv2.dilate(inside, kernel), cv2.erode(inside, kernel))
    fill = inside & _FILL  # right where it is seen: the edge is over all else
    rim = np.asarray(cv2.dilate(edge, _AROUND), np.uint8) >> 1
    kept = cv2.bitwise_not(cv2.max(cv2.add(rim, fill), edge))
    return np.asarray(kept, np.uint8), np.asarray(cv2.add(edge, fill), np.uint8)
