"""What is done to a section before its grey values are measured, and to its neighbours: smaller, smoother, averaged."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray


class Step(Protocol):
    """A pure function of a section, done before its grey values are measured, and again before they are shown."""

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """What becomes of a section of this shape: (rows, columns), or (rows, columns, 3) in colour."""

    def __call__(self, section: NDArray[np.generic]) -> NDArray[np.generic]:
        """The section as the next step takes it: (y, x), any real native dtype."""


class Smaller(Step, Protocol):
    """A step that makes sections smaller."""

    def voxels(self, shape: tuple[int, ...]) -> tuple[float, float]:
        """How many voxels of a section of this shape a pixel covers, along (y, x)."""


@dataclass(frozen=True)
class Crop:
    """A rectangle of each section.

    Attributes:
        origin: Its first (row, column).
        size: Its rows and columns, none outside of the sections.
    """

    origin: tuple[int, int]
    size: tuple[int, int]

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of the rectangle."""
        return *self.size, *shape[2:]

    def __call__(self, section: NDArray[np.generic]) -> NDArray[np.generic]:
        """Cut it out: a copy, whose rows follow each other."""
        (top, left), (rows, columns) = self.origin, self.size
        return np.ascontiguousarray(section[top : top + rows, left : left + columns])


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

    def voxels(self, shape: tuple[int, ...]) -> tuple[float, float]:
        """Not quite the same in both directions, for sides are rounded."""
        rows, columns = self.shape(shape)[:2]
        return shape[0] / rows, shape[1] / columns

    def __call__(self, section: NDArray[np.generic]) -> NDArray[np.generic]:
        """Shrink: float32, or float64 where the voxels need it."""
        shape = self.shape(section.shape)
        if shape == section.shape:
            return section
        return np.asarray(cv2.resize(_precise(section), (shape[1], shape[0]), interpolation=cv2.INTER_AREA))


@dataclass(frozen=True)
class Bin:
    """Sections made smaller by a whole factor: a pixel is the mean, or the largest, of the voxels that it covers.

    Rows and columns at the end that fill no pixel are left out, as IMOD's newstack does.

    Attributes:
        factor: Voxels of a pixel in each direction; all of them where there are fewer.
        largest: Whether a pixel is the largest of its voxels.
    """

    factor: int
    largest: bool = False

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Whole pixels only, and one at least."""
        rows, columns = (max(1, side // self.factor) for side in shape[:2])
        return rows, columns, *shape[2:]

    def voxels(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """The factor, or all that there are."""
        return min(self.factor, shape[0]), min(self.factor, shape[1])

    def __call__(self, section: NDArray[np.generic]) -> NDArray[np.generic]:
        """Bin: means as float32, or float64 where the voxels need it; the largest as they are."""
        rows, columns = self.shape(section.shape)[:2]
        down, across = self.voxels(section.shape)
        filled = section[: rows * down, : columns * across]
        if self.largest:
            return np.asarray(filled.reshape(rows, down, columns, across, *section.shape[2:]).max(axis=(1, 3)))
        return np.asarray(cv2.resize(_precise(filled), (columns, rows), interpolation=cv2.INTER_AREA))


@dataclass(frozen=True)
class Scale:
    """Voxels on another scale, on which what is faint can be seen beside what is bright.

    Attributes:
        kind: log is log(1 + voxel), sqrt the square root; voxels below 0 become as much lower.
    """

    kind: Literal["log", "sqrt"]

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Nothing becomes smaller."""
        return shape

    def __call__(self, section: NDArray[np.generic]) -> NDArray[np.generic]:
        """Rescale: float32, or float64 where the voxels need it."""
        precise = _precise(section)
        size = np.abs(precise)
        scaled = np.log1p(size, out=size) if self.kind == "log" else np.sqrt(size, out=size)
        return np.asarray(np.copysign(scaled, precise, out=scaled))


HALF_AMPLITUDE = math.sqrt(2 * math.log(2)) / (2 * math.pi)
"""A Gaussian with this standard deviation in space, times d, leaves half of the amplitude at the period d: its
transform is exp(-2 (pi s f)^2), which is 1/2 at f = 1/d for s = d sqrt(2 ln 2) / (2 pi)."""


@dataclass(frozen=True)
class Lowpass:
    """Sections smoothed with a Gaussian; voxels that are not finite stay so, and are left out of their surroundings.

    Attributes:
        deviations: Standard deviation along (y, x), in pixels.
    """

    deviations: tuple[float, float]

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Nothing becomes smaller."""
        return shape

    def __call__(self, section: NDArray[np.generic]) -> NDArray[np.generic]:
        """Smooth: float32, or float64 where the voxels need it."""
        precise = _precise(section)
        finite = np.isfinite(precise)
        if finite.all():
            return self._smooth(precise)
        weight = self._smooth(finite.astype(precise.dtype))
        smooth = self._smooth(np.where(finite, precise, precise.dtype.type(0)))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(finite, smooth / weight, precise)

    def _smooth(self, precise: NDArray[np.floating]) -> NDArray[np.floating]:
        down, across = (_kernel(deviation).astype(precise.dtype) for deviation in self.deviations)
        return np.asarray(cv2.sepFilter2D(precise, -1, across, down, borderType=cv2.BORDER_REFLECT))


@cache
def _kernel(deviation: float) -> NDArray[np.float64]:
    """The Gaussian as weights for neighbouring pixels, (n,), n odd.

    They come from its transform: a sampled Gaussian of less than a pixel is none, and would miss the half amplitude.
    Cut so short they keep the transform to within 0.04, and to within 0.011 from a resolution of 4.5 pixels on.
    """
    radius = max(3, math.ceil(3 * deviation))
    length = 64 * radius
    transform = np.exp(-2 * (np.pi * deviation * np.fft.rfftfreq(length)) ** 2)
    weights = np.fft.irfft(transform, length)
    kernel = np.concatenate([weights[-radius:], weights[: radius + 1]])
    normalised: NDArray[np.float64] = kernel / kernel.sum()
    return normalised


def _precise(section: NDArray[np.generic]) -> NDArray[np.floating]:
    """As float32, or float64 where the voxels need it."""
    return section.astype(np.result_type(section.dtype, np.float32), copy=False)


def mean_of(sections: Sequence[NDArray[np.generic]], place: NDArray[np.generic]) -> None:
    """Write the mean of sections of the same shape and floating-point type into an array like them.

    All are added up for each mean: taking away what leaves a running sum would save additions, but its errors would
    grow along the movie, and one NaN would never leave it. Whole sections are added, not blocks that stay in the cache:
    for each addition the interpreter is left and entered again, for which busy threads wait.
    """
    first, *others = sections
    with np.errstate(over="ignore", invalid="ignore"):
        if others:
            np.add(first, others[0], out=place)
        else:
            np.copyto(place, first)
        for section in others[1:]:
            np.add(place, section, out=place)
        np.multiply(place, place.dtype.type(1 / len(sections)), out=place)
