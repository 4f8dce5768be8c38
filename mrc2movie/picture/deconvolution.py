"""The Wiener filter against the contrast transfer function of the microscope."""

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
