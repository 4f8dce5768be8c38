"""From a section to a frame of the movie: a chain of pure functions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError
from mrc2movie.options.settings import Settings
from mrc2movie.picture.greys import GreyRange, not_finite, to_8bit
from mrc2movie.readers.volume import VoxelSize

Frame: TypeAlias = NDArray[np.uint8]
"""(h, w) uint8, row 0 at the top of the picture; (h, w, 3) red, green, blue where in colour."""


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
    """Sections made smaller by a whole factor: a pixel is the mean of the voxels that it covers.

    Rows and columns at the end that fill no pixel are left out, as IMOD's newstack does.

    Attributes:
        factor: Voxels of a pixel in each direction; all of them where there are fewer.
    """

    factor: int

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Whole pixels only, and one at least."""
        rows, columns = (max(1, side // self.factor) for side in shape[:2])
        return rows, columns, *shape[2:]

    def voxels(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """The factor, or all that there are."""
        return min(self.factor, shape[0]), min(self.factor, shape[1])

    def __call__(self, section: NDArray[np.generic]) -> NDArray[np.generic]:
        """Bin: float32, or float64 where the voxels need it."""
        rows, columns = self.shape(section.shape)[:2]
        down, across = self.voxels(section.shape)
        filled = section[: rows * down, : columns * across]
        return np.asarray(cv2.resize(_precise(filled), (columns, rows), interpolation=cv2.INTER_AREA))


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


@dataclass(frozen=True)
class Preparation:
    """What is done to every section before its grey values are measured.

    Attributes:
        steps: In this order. They and the means of neighbours are sums, so that their order does not matter to these,
            and smaller sections come first: all that follows is cheaper.
        shape: Of the prepared sections: (rows, columns), or (rows, columns, 3) in colour.
        pixel_size_A: Of the prepared sections, along (x, y), in Å; None where it is not known.
        notes: What the user may want to know of it.
        warnings: What the user should know of it.
    """

    steps: Sequence[Step]
    shape: tuple[int, ...]
    pixel_size_A: tuple[float, float] | None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def preparation(settings: Settings, shape: tuple[int, ...], voxel_size_A: VoxelSize | None) -> Preparation:
    """What is done to every section, so that the grey range fits what is shown.

    Args:
        settings: The steps.
        shape: Of the sections: (rows, columns), or (rows, columns, 3) in colour.
        voxel_size_A: Along (columns, rows, sections), where known.

    Raises:
        InputError: A step needs a voxel size, and none is known.
    """
    smaller: list[Smaller] = []
    if settings.bin > 1:
        smaller.append(Bin(settings.bin))
    if settings.max_size:
        smaller.append(Shrink(settings.max_size))
    prepared = shape
    sizes = voxel_size_A[:2] if voxel_size_A else None
    for step in smaller:
        before, prepared = prepared, step.shape(prepared)
        if sizes:
            down, across = step.voxels(before)
            sizes = (sizes[0] * across, sizes[1] * down)
    steps: list[Step] = list(smaller)
    notes, warnings = [], []
    if prepared != shape:
        flags = " ".join(flag for flag, on in (("--bin", settings.bin > 1), ("--max-size", settings.max_size)) if on)
        notes.append(f"made smaller from {shape[1]} x {shape[0]} to {prepared[1]} x {prepared[0]} ({flags})")
    if settings.lowpass:
        if sizes is None:
            raise InputError("has no voxel size, which --lowpass needs", "give it with --pixel-size ANGSTROM")
        length_A = max(prepared[1] * sizes[0], prepared[0] * sizes[1])
        if settings.lowpass > length_A:
            warnings.append(
                f"--lowpass {settings.lowpass:g} is coarser than the whole picture of {length_A:.4g} Å, which serves "
                "instead: there is hardly anything to see"
            )
        elif settings.lowpass < 2 * max(sizes):
            warnings.append(
                f"--lowpass {settings.lowpass:g} is finer than two pixels of {max(sizes):.4g} Å: hardly anything is "
                "smoothed"
            )
        deviation_A = HALF_AMPLITUDE * min(settings.lowpass, length_A)
        steps.append(Lowpass((deviation_A / sizes[1], deviation_A / sizes[0])))
    return Preparation(tuple(steps), prepared, sizes, tuple(notes), tuple(warnings))


@dataclass(frozen=True)
class Look:
    """How the sections of one movie are rendered.

    Attributes:
        grey_range: What becomes black and white.
        row0_at_bottom: Whether row 0 of a section is the bottom of the picture.
        clip_limit: Of CLAHE; 0 is none.
        tile_grid_size: CLAHE works on so many tiles in each direction.
        invert: Whether black is shown as white.
        shifts: What is to be added to the voxels at each position; nothing where it is empty.
    """

    grey_range: GreyRange
    row0_at_bottom: bool
    clip_limit: float
    tile_grid_size: int
    invert: bool = False
    shifts: Sequence[float] = ()


class Renderer:
    """Renders the sections of one movie, in one thread: OpenCV's CLAHE is not to be shared, nor are the buffers.

    The frames lie in the same memory one after the other: memory that is new for every section costs as much as to
    convert it. Each stays what it is until the next one is rendered.

    CLAHE works on 8 bits. In 16 it would be another filter: OpenCV counts in 65536 bins there, more than a tile of
    128 x 128 has pixels, so that clipping them means something else (19 to 26 dB from what it does in 8 bits), and it
    takes three times as long (6.2 instead of 2.0 ms for 1024 x 1024). And 8 bits lose nothing that a movie could show:
    greys that are not rounded before give the same to within 49 dB, even where 99.8 % of the voxels share 21 greys,
    while JPEG of quality 90 keeps 36 to 42 dB (``tests/benchmarks/clahe.py``).

    Args:
        look: How.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        tiles = (look.tile_grid_size, look.tile_grid_size)
        equalise = look.clip_limit > 0 and not look.grey_range.constant
        self._clahe = cv2.createCLAHE(look.clip_limit, tiles) if equalise else None
        self._grey = np.empty(0, np.uint8)
        self._contrasted = np.empty(0, np.uint8)

    def __call__(self, section: NDArray[np.generic], position: int = 0) -> Frame:
        """Render one section, (y, x) of any real native dtype or (y, x, 3) in colour, at a position of the movie."""
        look = self._look
        if self._grey.shape != section.shape:
            self._grey = np.empty(section.shape, np.uint8)
            self._contrasted = np.empty(section.shape, np.uint8)
        grey_range = look.grey_range.shifted_by(look.shifts[position] if look.shifts else 0.0)
        frame = to_8bit(section, grey_range, look.row0_at_bottom, self._grey)
        if self._clahe is not None:
            frame = self._equalised(frame)
        if look.invert:
            cv2.bitwise_not(frame, frame)
        if look.grey_range.nonfinite and (look.invert or self._clahe is not None):
            frame[not_finite(section, look.row0_at_bottom)] = 0
        return frame

    def _equalised(self, frame: Frame) -> Frame:
        assert self._clahe is not None
        if frame.ndim == 2:
            return np.asarray(self._clahe.apply(frame, self._contrasted), np.uint8)
        lightness = cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb)  # only this is equalised, so that hues stay what they are
        lightness[..., 0] = self._clahe.apply(lightness[..., 0])
        return np.asarray(cv2.cvtColor(lightness, cv2.COLOR_YCrCb2RGB), np.uint8)
