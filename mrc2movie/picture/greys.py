"""Grey values: the measuring pass, the grey range, the way to 8 bits. Arrays and numbers in, arrays out."""

import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import iadd
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from mrc2movie.options.grey_rule import GreyRule
from mrc2movie.picture.auto_range import auto_range

SAMPLE_VOXELS = 4_000_000
"""The robust statistics come from at least this many voxels (all of them where there are fewer)."""

DARK_GROUND = 0.2
"""Share of the grey range. Where half of the voxels are below it, a few bright features stand on a dark ground: a
dark-field image, whose values rise with the mass. The median of cryo-EM data lies near the middle."""

MID_GREY = 128
_OPENCV_DTYPES = (np.uint8, np.uint16, np.int16, np.float32)
_JOINED_AT_ONCE = 1024
_COUNTED_AT_ONCE = 1 << 19
_KEPT = 200_000
_BINS = (1 << 16) - 2
_OUTER = 0.005
_ROUND = 2.0
"""A sample of more than _KEPT voxels is not sorted but counted, in the worker threads: integers of 16 bits value by
value, others in _BINS bins between the quantiles _OUTER at each end and _ROUND times their distance beyond; the few
voxels that lie outside are sorted. A bin is 0.007 % as wide as the CENTRAL_PERCENTILES of a normal distribution are
apart. Then _KEPT values stand for the sample, evenly spaced in it: of 1000 voxels beyond a percentile 2.5 are uncertain
at most, which moves it by 0.01 % of that width."""
_BLOCK_BYTES = 1 << 19
"""Converted at a time: a block and its scratch stay in the second-level cache."""


@dataclass(frozen=True)
class Statistics:
    """What the measuring pass takes from the voxels of one section, and of all sections shown.

    Attributes:
        minimum: Exact smallest finite value; +inf where no value is finite.
        maximum: Exact largest finite value; -inf where no value is finite.
        nonfinite: Number of NaN and infinite voxels.
        sample: Finite voxels of the regular sample, (n,); of all sections ascending.
        mean: Of all finite voxels of a section; None where it is not wanted, or no value is finite.
    """

    minimum: float
    maximum: float
    nonfinite: int
    sample: NDArray[np.generic]
    mean: float | None = None


@dataclass(frozen=True)
class GreyRange:
    """The values that become black and white.

    Attributes:
        low: This value and all below become 0; equal to `high` where the data are constant: all becomes mid-grey.
        high: This value and all above become 255.
        saturates: Whether finite voxels lie outside.
        nonfinite: Whether NaN or infinite voxels occur; they become 0.
        ground_is_dark: Whether half of the voxels are in the darkest part of the range, see `DARK_GROUND`.
        notes: What the user may want to know about the choice.
        warnings: What the user should know about the data.
    """

    low: float
    high: float
    saturates: bool = True
    nonfinite: bool = False
    ground_is_dark: bool = False
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def shifted_by(self, shift: float) -> "GreyRange":
        """The range for voxels that are still without a shift."""
        return replace(self, low=self.low - shift, high=self.high - shift) if shift else self

    @property
    def constant(self) -> bool:
        """Whether there is no contrast to show."""
        return self.low == self.high


@dataclass(frozen=True)
class Sampling:
    """A regular sample of the voxels of all sections shown, as if these lay one behind the other.

    Attributes:
        section_voxels: Voxels of a section.
        step: One voxel in so many is sampled; coprime to the row length where that can be, so that no column is
            preferred.
    """

    section_voxels: int
    step: int

    @classmethod
    def of(cls, sections: int, section_shape: tuple[int, ...]) -> "Sampling":
        """The sampling that gives at least SAMPLE_VOXELS, but not twice as many, or all where there are fewer."""
        section_voxels, row = math.prod(section_shape), math.prod(section_shape[1:])
        largest = max(1, sections * section_voxels // SAMPLE_VOXELS)
        steps = range(largest, largest // 2, -1)
        return cls(section_voxels, min(steps, key=lambda step: math.gcd(step, row)))

    def slice(self, position: int) -> slice:
        """Which voxels of the flat section at this position among those shown are in the sample."""
        return slice(-position * self.section_voxels % self.step, None, self.step)


def section_statistics(section: NDArray[np.generic], sampled: slice, with_mean: bool = False) -> Statistics:
    """Measure one section.

    Args:
        section: (y, x) of any real native dtype, or (y, x, 3) in colour, where each channel counts as a voxel.
        sampled: Which voxels of the flat section are in the sample.
        with_mean: Whether the mean is wanted.
    """
    sample = section.reshape(-1)[sampled].copy()
    if section.dtype in (np.uint8, np.uint16, np.int16):
        values: NDArray[Any] = section.reshape(1, -1)
        minimum, maximum, _, _ = cv2.minMaxLoc(values)
    else:  # NaN and infinity show in the extremes, so clean sections, nearly all there are, need no mask
        with np.errstate(invalid="ignore"):
            minimum, maximum = float(section.min()), float(section.max())
    if math.isfinite(minimum) and math.isfinite(maximum):
        mean = float(section.mean(dtype=np.float64)) if with_mean else None
        return Statistics(minimum, maximum, 0, sample, mean)
    finite = section[np.isfinite(section)]
    return Statistics(
        float(finite.min(initial=np.inf)),
        float(finite.max(initial=-np.inf)),
        section.size - finite.size,
        sample[np.isfinite(sample)],
        float(finite.mean(dtype=np.float64)) if with_mean and finite.size else None,
    )


Spread: TypeAlias = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""What `map` does, but in threads."""


def collect(parts: Iterable[Statistics], spread: Spread = map) -> Statistics:
    """Bring the statistics of the sections together.

    Args:
        parts: The statistics of each section.
        spread: Shares out the work.
    """
    minimum, maximum, nonfinite, samples = math.inf, -math.inf, 0, _Samples()
    for part in parts:
        minimum, maximum = min(minimum, part.minimum), max(maximum, part.maximum)
        nonfinite += part.nonfinite
        samples.append(part.sample)
    return _of_all(minimum, maximum, nonfinite, samples.blocks(), spread)


def collect_with_matched_means(parts: Iterable[Statistics], spread: Spread = map) -> tuple[Statistics, Sequence[float]]:
    """Shift every section to the common mean, and bring the statistics of the shifted ones together.

    Args:
        parts: The statistics of each section, with its mean.
        spread: Shares out the work.

    Returns:
        The statistics, and what is to be added to the voxels of each section.
    """
    minima, maxima, means, sizes = array("d"), array("d"), array("d"), array("q")
    nonfinite, samples = 0, _Samples()
    for part in parts:
        minima.append(part.minimum)
        maxima.append(part.maximum)
        means.append(math.nan if part.mean is None else part.mean)
        sizes.append(part.sample.size)
        nonfinite += part.nonfinite
        samples.append(part.sample)
    known = [mean for mean in means if not math.isnan(mean)]
    common = sum(known) / len(known) if known else 0.0
    shifts = array("d", (0.0 if math.isnan(mean) else common - mean for mean in means))
    # In this order a section without contrast comes to the common mean exactly, and shows no rounding as contrast.
    # One without a mean has no finite voxel, and so no sample, but infinite ends.
    from_means = np.nan_to_num(np.array(means), nan=common)

    def shifted(block: _Block) -> _Block:
        sample = block.joined()
        values: NDArray[Any] = sample.astype(np.result_type(sample.dtype, np.float32))
        own = slice(block.first, block.first + block.sections)
        values -= np.repeat(from_means[own].astype(values.dtype), np.array(sizes[own]))
        values += values.dtype.type(common)
        return _Block(block.first, block.sections, (values,))

    minimum = float((np.array(minima) - from_means + common).min(initial=math.inf))
    maximum = float((np.array(maxima) - from_means + common).max(initial=-math.inf))
    return _of_all(minimum, maximum, nonfinite, list(spread(shifted, samples.blocks())), spread), shifts


@dataclass(frozen=True)
class _Block:
    """The samples of some sections, one behind the other.

    Attributes:
        first: The position of the first section.
        sections: Their number.
        arrays: The samples.
    """

    first: int
    sections: int
    arrays: Sequence[NDArray[np.generic]]

    @property
    def size(self) -> int:
        return sum(array.size for array in self.arrays)

    def joined(self) -> NDArray[np.generic]:
        return np.concatenate(self.arrays) if len(self.arrays) > 1 else self.arrays[0]


class _Samples:
    """The samples of all sections, in blocks: millions of tiny arrays would take far more than what is in them."""

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._arrays: list[NDArray[np.generic]] = []
        self._size = self._sections = 0

    def append(self, sample: NDArray[np.generic]) -> None:
        self._arrays.append(sample)
        self._size += sample.size
        if self._size >= _COUNTED_AT_ONCE or len(self._arrays) == _JOINED_AT_ONCE:
            self._close_block()

    def _close_block(self) -> None:
        block = _Block(self._sections, len(self._arrays), self._arrays)
        if len(self._arrays) == _JOINED_AT_ONCE:
            block = replace(block, arrays=(block.joined(),))
        self._blocks.append(block)
        self._sections += len(self._arrays)
        self._arrays, self._size = [], 0

    def blocks(self) -> Sequence[_Block]:
        if self._arrays:
            self._close_block()
        return self._blocks


def _of_all(minimum: float, maximum: float, nonfinite: int, blocks: Sequence[_Block], spread: Spread) -> Statistics:
    size = sum(block.size for block in blocks)
    if not size:  # none was wanted, or it met no finite voxel
        sample: NDArray[np.generic] = np.sort(np.array([minimum, maximum]))
    elif size <= _KEPT:
        sample = _sorted(np.concatenate([block.joined() for block in blocks]))
    else:
        sample = _counted(blocks, size, minimum, maximum, spread)
    return Statistics(minimum, maximum, nonfinite, sample)


def _sorted(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """In ascending order; NumPy's stable sort of 16 bits counts digits and takes a quarter of the time."""
    return np.sort(values, kind="stable" if values.dtype.itemsize <= 2 else None)


def _counted(
    blocks: Sequence[_Block], size: int, minimum: float, maximum: float, spread: Spread
) -> NDArray[np.generic]:
    """Of the values in ascending order _KEPT that are evenly spaced, the first and the last among them."""
    dtype: np.dtype[Any] = blocks[0].arrays[0].dtype
    values: NDArray[Any]
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        counts: NDArray[np.int64] = reduce(iadd, spread(_count_integers, blocks))
        if dtype.kind == "i":  # the negative ones were counted behind the others
            counts = np.roll(counts, len(counts) // 2)
        values = np.arange(len(counts)) + np.iinfo(dtype).min
    else:
        step = max(1, size // _KEPT * 8)
        coarse = np.sort(np.concatenate([array[::step] for block in blocks for array in block.arrays]))
        grid = _Grid.around(coarse, np.result_type(dtype, np.float32))
        binned, outside = zip(*spread(grid.count, blocks), strict=True)
        beyond = np.sort(np.concatenate(outside))
        below = int(np.searchsorted(beyond, grid.middle))
        inside = grid.values(coarse).clip(minimum, maximum)
        values = np.concatenate([beyond[:below], inside, beyond[below:]])
        counts = np.ones(len(values), np.int64)
        counts[below : below + len(inside)] = reduce(iadd, binned)
    up_to = np.cumsum(counts)
    kept = np.where(up_to > 0, (up_to - 1) * (_KEPT - 1) // (size - 1) + 1, 0)
    return np.repeat(values.astype(dtype), np.diff(kept, prepend=0))


def _count_integers(block: _Block) -> NDArray[np.int64]:
    """How often each pattern of 8 or 16 bits occurs, (256,) or (65536,)."""
    values = block.joined()
    return _histogram(values.view(f"u{values.dtype.itemsize}"))


def _histogram(values: NDArray[Any]) -> NDArray[np.int64]:
    """How often each value occurs of (n,) uint8 or uint16, n < 2**24; in half the time of `numpy.bincount`."""
    bins = 1 << 8 * values.dtype.itemsize
    return cv2.calcHist([values.reshape(1, -1)], [0], None, [bins], [0, bins]).astype(np.int64).ravel()


@dataclass(frozen=True)
class _Grid:
    """Bins of equal width.

    Attributes:
        low: Where the first begins.
        width: Of a bin; 0 where only the value `low` itself is counted, in a single bin.
        dtype: Of the arithmetic.
    """

    low: float
    width: float
    dtype: np.dtype[Any]

    @classmethod
    def around(cls, coarse: NDArray[np.generic], dtype: np.dtype[Any]) -> "_Grid":
        """The bins for values of which these are some, ascending."""
        outer = round(_OUTER * (len(coarse) - 1))
        first, last = float(coarse[outer]), float(coarse[-1 - outer])
        reach = last - first
        if not 1e-25 < reach < 1e25:  # else float32 holds neither a bin nor all that they span
            dtype = np.dtype(np.float64)
        return cls(float(dtype.type(first - _ROUND * reach)), (1 + 2 * _ROUND) * reach / _BINS, dtype)

    def values(self, some: NDArray[np.generic]) -> NDArray[np.float64]:
        """What stands for the voxels of each bin, (bins,): one of `some`, so that frequent ones stay what they are."""
        if not self.width:
            return np.array([self.low])
        values = np.asarray(self.low + (np.arange(_BINS) + 0.5) * self.width, np.float64)
        place = self._places(some)
        inside = (place >= 1) & (place < _BINS + 1)
        values[place[inside].astype(np.intp) - 1] = some[inside]
        return values

    @property
    def middle(self) -> float:
        """A value between all that lie below the bins and all that lie above."""
        return self.low + _BINS // 2 * self.width

    def count(self, block: _Block) -> tuple[NDArray[np.int64], NDArray[np.generic]]:
        """How many values lie in each bin, (bins,), and those that lie in none."""
        values = block.joined()
        if not self.width:
            outside = values[values != self.dtype.type(self.low)]
            return np.array([values.size - outside.size]), outside
        place = self._places(values).astype(np.uint16)
        return _histogram(place)[1:-1], values[(place < 1) | (place > _BINS)]

    def _places(self, values: NDArray[np.generic]) -> NDArray[np.floating]:
        """The number of the bin of each value, counted from 1, and a fraction; 0 below them and _BINS + 1 above."""
        with np.errstate(over="ignore"):
            place: NDArray[Any] = np.subtract(values, self.dtype.type(self.low), dtype=self.dtype)
            place *= self.dtype.type(1 / self.width)
        place += 1
        return place.clip(0, _BINS + 1, out=place)


def choose_range(statistics: Statistics, rule: GreyRule, rounding: float = 0.0) -> GreyRange:
    """The grey range of a movie; see `auto_range` for what ``auto`` does.

    A rule that gives no width (a percentile of data that are mostly zero) falls back to minimum and maximum. What the
    user gave holds for data without any contrast, too.

    Args:
        statistics: Of all sections shown.
        rule: How the range is found.
        rounding: What rounding may have made of voxels that were alike: their largest difference, relative to them.
    """
    minimum, maximum = statistics.minimum, statistics.maximum
    nonfinite = statistics.nonfinite > 0
    notes, warnings = [], []
    if nonfinite:
        warnings.append(f"{statistics.nonfinite} voxels are NaN or infinite and shown black")
    if minimum >= maximum or maximum - minimum <= rounding * max(-minimum, maximum):
        value = minimum if minimum <= maximum else 0.0  # 0 stands for none at all: every voxel is black
        warnings.append(f"no two {'finite ' if nonfinite else ''}voxels differ: there is no contrast to show")
        if rule.kind != "fixed" or minimum > maximum:
            return GreyRange(value, value, nonfinite=nonfinite, warnings=tuple(warnings))
    low, high = minimum, maximum
    match rule.kind:
        case "auto":
            low, high, why = auto_range(statistics.sample, minimum, maximum)
            if why:
                notes.append(
                    f"the values go from {minimum:g} to {maximum:g}, the grey range is {low:g} … {high:g}: {why} "
                    "(--range minmax shows all)"
                )
        case "percentile":
            low, high = _percentiles(statistics.sample, *rule.values)
        case "sigma":
            centre, spread = _mean_and_deviation(statistics.sample)
            low, high = centre - rule.values[0] * spread, centre + rule.values[0] * spread
        case "mad":
            (centre,) = _percentiles(statistics.sample, 50)
            deviations = statistics.sample.astype(np.result_type(statistics.sample.dtype, np.float32))
            deviations -= deviations.dtype.type(centre)
            np.abs(deviations, out=deviations)
            deviations.sort()
            # For a normal distribution 1.4826 times the median absolute deviation is the standard deviation.
            spread = 1.4826 * _percentiles(deviations, 50)[0]
            low, high = centre - rule.values[0] * spread, centre + rule.values[0] * spread
        case "fixed":
            low, high = rule.values
    if not low < high:
        warnings.append(f"the range rule finds no width at {low:g}: minimum and maximum serve instead")
        low, high = minimum, maximum
    return GreyRange(
        low,
        high,
        saturates=low > minimum or high < maximum,
        nonfinite=nonfinite,
        ground_is_dark=_percentiles(statistics.sample, 50)[0] - low < DARK_GROUND * (high - low),
        notes=tuple(notes),
        warnings=tuple(warnings),
    )


def _percentiles(ascending: NDArray[np.generic], *percentiles: float) -> list[float]:
    """Values of a sorted sample, the nearest one to each percentile."""
    return [float(ascending[round(p / 100 * (len(ascending) - 1))]) for p in percentiles]


def _mean_and_deviation(sample: NDArray[np.generic]) -> tuple[float, float]:
    mean = float(sample.mean(dtype=np.float64))
    step = _BLOCK_BYTES // sample.itemsize
    blocks = (sample[start : start + step] for start in range(0, len(sample), step))
    squares = math.fsum(float(np.square(block.astype(np.float64) - mean).sum()) for block in blocks)
    return mean, math.sqrt(squares / len(sample))


class GreyConversion:
    """Maps the grey range to 0 … 255, rounded and saturated; NaN and infinity become 0. For one thread alone.

    Args:
        upside_down: Whether the first row of a section becomes the last of the result.
    """

    def __init__(self, upside_down: bool) -> None:
        self._upside_down = upside_down
        self._fitted: tuple[GreyRange, np.dtype[Any], tuple[int, ...]] | None = None
        self._rows = 0
        self._convert: _Convert

    def apply(self, section: NDArray[np.generic], grey_range: GreyRange, grey: NDArray[np.uint8]) -> None:
        """Convert a section.

        Args:
            section: (y, x) of any real native dtype, or (y, x, 3) in colour.
            grey_range: Its ends become 0 and 255, in every channel.
            grey: Where the result goes: of the same shape, contiguous.
        """
        if grey_range.constant:
            grey.fill(MID_GREY)
        else:
            self._fit(section, grey_range)
            height = len(section)
            for start in range(0, height, self._rows):
                end = min(start + self._rows, height)
                place = grey[height - end : height - start] if self._upside_down else grey[start:end]
                self._convert(section[start:end], place)
                if self._upside_down:  # while the block is in the cache
                    cv2.flip(place, 0, place)
        if grey_range.nonfinite:
            grey[not_finite(section, self._upside_down)] = 0

    def _fit(self, section: NDArray[np.generic], grey_range: GreyRange) -> None:
        """Choose how to convert sections like this one, and make the buffers for it."""
        fitted = grey_range, section.dtype, section.shape
        if self._fitted != fitted:
            self._rows = max(1, _BLOCK_BYTES // (max(2, section.itemsize) * math.prod(section.shape[1:])))
            block = min(self._rows, len(section)), *section.shape[1:]
            one_step = _one_step(section.dtype, block, grey_range)
            self._convert = one_step or _two_steps(section.dtype, block, grey_range)
            self._fitted = fitted


_Voxels: TypeAlias = NDArray[Any]
_Greys: TypeAlias = NDArray[np.uint8]
_Convert: TypeAlias = Callable[[_Voxels, _Greys], object]
"""Converts a block of rows into its place; for one thread, since it has a buffer."""


def _one_step(dtype: np.dtype[Any], block_shape: tuple[int, ...], grey_range: GreyRange) -> _Convert | None:
    """OpenCV's conversion, which adds after it has multiplied: where float32 is exact enough.

    It takes the absolute value of what is below black, and wraps far above white: what saturates is clipped before.
    Where the range is far from zero for its width the sum loses digits; up to a ratio of 64 that is less than 0.001 of
    a grey value.
    """
    low, high = grey_range.low, grey_range.high
    width = high - low
    far = max(abs(low), abs(high)) > 64 * width
    if far or dtype not in _OPENCV_DTYPES or not 1e-30 < width < 1e30:
        return None
    scale = 255 / width
    if not grey_range.saturates:
        return lambda block, place: cv2.convertScaleAbs(block, place, scale, -low * scale)
    darkest, brightest = low, high
    if dtype.kind != "f":
        numbers = np.iinfo(dtype)
        darkest, brightest = max(math.floor(low), numbers.min), min(math.ceil(high), numbers.max)
        # The integer below black must be less than half a grey value away from it, and some of the range in the type.
        if scale >= 0.5 or darkest > brightest:
            return None
    ends = dtype.type(darkest), dtype.type(brightest)
    scratch = np.empty(block_shape, dtype)

    def convert(block: _Voxels, place: _Greys) -> None:
        cv2.convertScaleAbs(block.clip(*ends, out=scratch[: len(block)]), place, scale, -low * scale)

    return convert


def _two_steps(dtype: np.dtype[Any], block_shape: tuple[int, ...], grey_range: GreyRange) -> _Convert:
    """Subtract and saturate, then scale and round: right for all voxels and ranges.

    float32 holds all of 16 bits and of itself, and is twice as fast. Integers of 32 bits need float64, and so do widths
    near the ends of float32, which OpenCV cannot scale in one step.
    """
    width = grey_range.high - grey_range.low
    precise = dtype.itemsize > 4 or dtype in (np.int32, np.uint32) or not 1e-30 < width < 1e30
    working = np.dtype(np.float64 if precise else np.float32)
    low, span = working.type(grey_range.low), working.type(width)
    scratch = np.empty(block_shape, working)

    def convert(block: _Voxels, place: _Greys) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            value = np.subtract(block, low, out=scratch[: len(block)], dtype=working)
            if grey_range.saturates:
                value.clip(0, span, out=value)
            if precise:
                value /= span
        cv2.convertScaleAbs(value, place, 255 if precise else 255 / width)  # nothing is negative here

    return convert


def not_finite(section: NDArray[np.generic], upside_down: bool) -> NDArray[np.bool_]:
    """Where the frame of a section shows NaN or infinity: (y, x), or (y, x, 3) in colour."""
    finite: NDArray[np.bool_] = np.isfinite(section[::-1] if upside_down else section)
    return ~finite
