"""The grey range that is shown where nobody chose one, from a sample of the voxels."""

import math

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
SPREAD = 30.0
"""The rule ``auto`` for noisy data: the first of the PERCENTILES, cut off at each end, at which the standard deviation
of the greys is at least SPREAD. Gaussian noise has 41 at the first; gold of 1 % takes a few steps more. The last one
serves where none is enough."""

BODY = 4.0
RARE = 5e-4
PICTURE = 0.9
WITHIN = 4.0
BEYOND = 2.0
"""Data are sparse where more than half of the voxels have one value, or where the voxels beyond BODY robust standard
deviations from the median carry PICTURE of the variance, hot pixels and X-rays (RARE, at each end) left out: gold of
3 % at 20 deviations carries 0.86. Then black and white are not nearer to the median than WITHIN times the median
deviation of these voxels, nor nearer than the first of the PERCENTILES; and they are minimum and maximum, unless these
lie more than BEYOND times as far."""

DISTINCT = 64
"""Voxels that all have the smallest (or the largest) value are no data where they are less than half of all, the
others have at least so many values (in a sample of 100000), and the gap to them is more than half as wide as what
they fill: the corners of an aligned tilt series are zero."""


def auto_range(ascending: NDArray[np.generic], minimum: float, maximum: float) -> tuple[float, float, str]:
    """The values that become black and white, where nobody chose them.

    Args:
        ascending: A sample of the finite voxels, (n,), sorted.
        minimum: Of all finite voxels.
        maximum: Of all finite voxels; larger than `minimum`.

    Returns:
        Black, white, and why they are not minimum and maximum, in words; no words where they are.
    """
    ascending, filled = _without_fill(ascending)
    lower, centre, upper = _at(ascending, 0.25, 0.5, 0.75)
    body = BODY * (upper - lower) / 1.349
    table = _thinned(ascending)
    deviations = table - centre
    beyond = np.abs(deviations) > body
    if body == 0 or _share_of_variance(deviations, beyond) >= PICTURE:
        why = "a few features on an even ground"
        typical = WITHIN * float(np.median(np.abs(deviations[beyond]))) if beyond.any() else math.inf
        low, high = _at(ascending, PERCENTILES[0] / 100, 1 - PERCENTILES[0] / 100)
        low, high = min(low, centre - typical), max(high, centre + typical)
        if centre - minimum <= BEYOND * (centre - low):
            low = minimum
        if maximum - centre <= BEYOND * (high - centre):
            high = maximum
    else:
        for percent in PERCENTILES:
            low, high = _at(ascending, percent / 100, 1 - percent / 100)
            if 255 * float(table.clip(low, high).std()) >= SPREAD * (high - low):
                break
        why = f"{100 - 2 * percent:g} % of the voxels"
    if not low < high:
        low, high = minimum, maximum
    if filled:
        why += f", {100 * filled:.2g} % of all left out, which have one value far from the others"
    return low, high, why if low > minimum or high < maximum else ""


def _at(ascending: NDArray[np.generic], *fractions: float) -> list[float]:
    """The values of a sorted sample nearest to these fractions of it."""
    return [float(ascending[round(fraction * (len(ascending) - 1))]) for fraction in fractions]


def _thinned(ascending: NDArray[np.generic]) -> NDArray[np.float64]:
    """At most 100000 values, evenly spaced in a sorted sample: enough for shares and deviations."""
    places = np.linspace(0, len(ascending) - 1, min(len(ascending), 100_000))
    return ascending[places.round().astype(np.intp)].astype(np.float64)


def _share_of_variance(deviations: NDArray[np.float64], beyond: NDArray[np.bool_]) -> float:
    """What the voxels beyond carry of the sum of squares, the rare ones at each end left out."""
    rare = math.ceil(RARE * len(deviations))
    kept = slice(rare, len(deviations) - rare)
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.square(deviations[kept])
        return float(squares[beyond[kept]].sum() / max(squares.sum(), 1e-300))


def _without_fill(ascending: NDArray[np.generic]) -> tuple[NDArray[np.generic], float]:
    """The sample without voxels that are no data, and what share these are."""
    size = len(ascending)
    smallest = int(np.searchsorted(ascending, ascending[0], "right"))
    largest = size - int(np.searchsorted(ascending, ascending[-1], "left"))
    for count, rest in ((smallest, ascending[smallest:]), (largest, ascending[: size - largest])):
        if not RARE * size < count < size / 2:
            continue
        low, high = _at(rest, PERCENTILES[0] / 100, 1 - PERCENTILES[0] / 100)
        gap = low - float(ascending[0]) if rest[-1] == ascending[-1] else float(ascending[-1]) - high
        if gap > 0.5 * (high - low) and np.count_nonzero(np.diff(_thinned(rest))) + 1 >= DISTINCT:
            return rest, count / size
    return ascending, 0.0
