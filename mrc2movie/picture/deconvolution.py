"""Filters and rules of the picture that an expert would choose: pure functions of sections and of samples."""

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Deconvolution:
    """The Wiener filter against the contrast transfer function, in two dimensions, that Warp and IsoNet ship.

    The model of the signal-to-noise ratio is that of tom_deconv (Tegunov and Cramer, Nature Methods 16, 1146, 2019;
    IsoNet: Liu et al., Nature Communications 13, 6482, 2022): SNR(k) = 10^(3 strength) exp(-200 Å falloff k)
    (1 - cos(pi min(1, k highpass_A))) at the spatial frequency k in 1/Å. Their exponent is -100 falloff f / pixel size
    at the fraction f of Nyquist, which is the same. The filter is CTF / (CTF² + 1 / SNR). Below the first zero of the
    CTF it is positive: dark matter stays dark. The mean of a section stays too; other waves that are longer than the
    high-pass are damped.

    Attributes:
        pixel_size_A: Of the sections along (y, x).
        defocus_um: Under-focus is positive.
        voltage_kV: Of the microscope.
        cs_mm: Its spherical aberration.
        amplitude_contrast: Its share of the contrast.
        strength: 1 stands for an SNR of 1000 before it falls.
        falloff: How fast the SNR falls.
        highpass_A: Longer waves are damped.
    """

    pixel_size_A: tuple[float, float]
    defocus_um: float
    voltage_kV: float = 300.0
    cs_mm: float = 2.7
    amplitude_contrast: float = 0.07
    strength: float = 1.0
    falloff: float = 1.0
    highpass_A: float = 300.0

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Nothing becomes smaller."""
        return shape

    def transfer(self, frequency: NDArray[np.floating]) -> NDArray[np.float64]:
        """The factor of waves of these spatial frequencies in 1/Å; 0 for the frequency 0."""
        k = np.asarray(frequency, np.float64)
        volts = 1e3 * self.voltage_kV
        wavelength = 12.2643247 / math.sqrt(volts * (1 + 0.978466e-6 * volts))
        phase = np.pi * wavelength * k**2 * (1e4 * self.defocus_um - 0.5e7 * self.cs_mm * (wavelength * k) ** 2)
        amplitude = self.amplitude_contrast
        ctf = math.sqrt(1 - amplitude**2) * np.sin(phase) + amplitude * np.cos(phase)
        snr = np.exp(3 * math.log(10) * self.strength - 200 * self.falloff * k)
        snr *= 1 - np.cos(np.pi * np.minimum(1, k * self.highpass_A))
        return np.asarray(ctf * snr / (ctf**2 * snr + 1), np.float64)

    def __call__(self, section: NDArray[np.generic]) -> NDArray[np.floating]:
        """Filter a section, (y, x): float32, or float64 where the voxels need it.

        Voxels that are not finite stay so, and count as the mean. The section is mirrored at its edges, as far as the
        longest wave that is not damped.
        """
        precise = section.astype(np.result_type(section.dtype, np.float32), copy=False)
        finite = np.isfinite(precise)
        holes = not finite.all()
        if not finite.any():
            return precise
        mean = precise.dtype.type(precise.mean(dtype=np.float64, where=finite) if holes else precise.mean(dtype=float))
        waves = precise - mean
        if holes:
            waves[~finite] = 0
        peak = cv2.norm(waves, cv2.NORM_INF)
        if peak == 0:
            return precise
        waves *= 1 / peak  # so that no sum overflows
        (rows, above, height), (columns, left, width) = (
            _padding(side, self.highpass_A / pixel) for side, pixel in zip(waves.shape, self.pixel_size_A, strict=True)
        )
        waves = cv2.copyMakeBorder(
            waves, above, height - rows - above, left, width - columns - left, cv2.BORDER_REFLECT
        )
        cv2.dft(waves, waves)
        waves *= _packed_transfer(self, height, width, waves.dtype.char)
        cv2.dft(waves, waves, cv2.DFT_INVERSE | cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT)
        filtered = waves[above : above + rows, left : left + columns] * precise.dtype.type(peak)
        filtered += mean
        return np.where(finite, filtered, precise) if holes else filtered


def _padding(side: int, reach: float) -> tuple[int, int, int]:
    """The side, the pixels before it, and all together: a fast size, with the reach of the filter at both ends."""
    before = min(side, math.ceil(reach))
    return side, before, cv2.getOptimalDFTSize(side + 2 * before)


@lru_cache(maxsize=2)
def _packed_transfer(deconvolution: Deconvolution, rows: int, columns: int, dtype: str) -> NDArray[np.floating]:
    """The factors of a spectrum as OpenCV packs it, (rows, columns).

    Real and imaginary parts lie side by side, but one below the other in the first column, and in the last where their
    number is even.
    """
    down, across = (
        np.arange(side // 2 + 1) / (side * pixel)
        for side, pixel in zip((rows, columns), deconvolution.pixel_size_A, strict=True)
    )
    quadrant = deconvolution.transfer(np.hypot(down[:, None], across)).astype(dtype)
    row = np.arange(rows)
    packed = quadrant[np.minimum(row, rows - row)][:, (np.arange(columns) + 1) // 2]
    for column in (0, columns - 1) if columns % 2 == 0 else (0,):
        packed[:, column] = quadrant[(row + 1) // 2, (column + 1) // 2]
    return packed


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
        if gap > 0.5 * (high - low) and len(np.unique(_thinned(rest))) >= DISTINCT:
            return rest, count / size
    return ascending, 0.0


SMALLEST_TILE = 64
"""Side in pixels: a smaller tile has hardly more pixels than CLAHE has bins, so that its clip limit means nothing."""


def tiles(shape: tuple[int, ...], most: int) -> tuple[int, int] | None:
    """How many tiles CLAHE works on along (x, y); None where no two fit along both, and it is better switched off.

    Args:
        shape: Of the frame: (rows, columns), or (rows, columns, 3).
        most: In each direction.
    """
    down, across = (min(most, side // SMALLEST_TILE) for side in shape[:2])
    return (across, down) if min(across, down) >= min(2, most) else None


_COARSE = 4
_AROUND = np.ones((3, 3), np.uint8)
_FLAT, _VARIED = 1, 3


def keep_constant_areas(frame: NDArray[np.uint8], contrasted: NDArray[np.uint8]) -> None:
    """Undo local contrast where there is nothing to contrast.

    Equalisation makes a constant area brighter or darker by what else its tile holds. Here it keeps its grey from
    some 10 pixels off whatever is not constant; noise is left as it is. A frame without such areas is only looked at
    (0.4 ms of 1024 x 1024); with them it takes 2 ms.

    Args:
        frame: (h, w), before.
        contrasted: (h, w), after; changed in place.
    """
    rows, columns = frame.shape
    small = cv2.resize(frame, (max(1, columns // _COARSE), max(1, rows // _COARSE)), interpolation=cv2.INTER_AREA)
    spread = cv2.subtract(cv2.dilate(small, _AROUND), cv2.erode(small, _AROUND))
    if int(spread.min()) >= _VARIED:
        return
    share = ((spread.astype(np.float32) - _FLAT) / (_VARIED - _FLAT)).clip(0, 1)
    share = np.asarray(cv2.resize(share, (columns, rows), interpolation=cv2.INTER_LINEAR), np.float32)
    cv2.blendLinear(contrasted, frame, share, 1 - share, contrasted)
