"""Virtual detectors: which pixels of a diffraction pattern each adds up, and what it reads. Arrays in, arrays out."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_HALF = 0.5
_GAP = 1.25
"""The dark field begins at so many radii of the central disc: its edge is soft."""


@dataclass(frozen=True, eq=False)
class Detectors:
    """Detectors for the patterns of one scan.

    Attributes:
        centre: Of the central disc, (y, x) in pixels.
        radius: Of the central disc in pixels, and so of the bright field.
        annulus: The inner and the outer radius of the dark field in pixels; None where no room is left for it.
        weights: (readings, pixels) float64: what a pixel counts in each sum.
        names: Of the readings: ``sum``, ``bright_field``, ``dark_field`` and ``com_x`` and ``com_y``, the distance of
            the centre of mass from that of the disc, in pixels to the right and upward in the picture.
    """

    centre: tuple[float, float]
    radius: float
    annulus: tuple[float, float] | None
    weights: NDArray[np.float64]
    names: tuple[str, ...]


def detectors_for(mean: NDArray[np.float64], row0_at_bottom: bool) -> Detectors:
    """Detectors that fit the mean pattern of a scan.

    The central disc is the largest area that is brighter than half of the brightest, a single hot pixel apart. The dark
    field is the annulus from a little outside of it to the nearest edge of the detector, or all that is left there.

    Args:
        mean: (y, x), finite.
        row0_at_bottom: Whether row 0 is the bottom of the picture.
    """
    rows, columns = mean.shape
    smooth = cv2.medianBlur(mean.astype(np.float32), 3) if min(rows, columns) > 2 else mean.astype(np.float32)
    bright = (smooth >= _HALF * smooth.max()).astype(np.uint8)
    _, labels, statistics, centroids = cv2.connectedComponentsWithStats(bright, connectivity=8)
    largest = 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA])) if len(statistics) > 1 else 0
    x, y = (float(place) for place in centroids[largest])
    radius = max(1.0, math.sqrt(int((labels == largest).sum()) / math.pi))
    down, across = np.arange(rows)[:, None] - y, np.arange(columns)[None, :] - x
    distance = np.hypot(down, across)
    annulus = _annulus(radius, min(x + 0.5, columns - 0.5 - x, y + 0.5, rows - 0.5 - y), float(distance.max()))
    sums = {"sum": np.ones_like(mean), "bright_field": (distance <= radius).astype(np.float64)}
    if annulus:
        sums["dark_field"] = ((distance >= annulus[0]) & (distance <= annulus[1])).astype(np.float64)
    sums["com_x"] = np.broadcast_to(across, mean.shape)
    sums["com_y"] = np.broadcast_to(down if row0_at_bottom else -down, mean.shape)
    weights = np.stack([weight.ravel() for weight in sums.values()])
    return Detectors((y, x), radius, annulus, weights, tuple(sums))


def _annulus(radius: float, edge: float, corner: float) -> tuple[float, float] | None:
    inner = _GAP * radius
    outer = edge if edge >= inner + 1 else corner
    return (inner, outer) if outer >= inner + 1 else None


def readings(pattern: NDArray[np.generic], detectors: Detectors) -> NDArray[np.float64]:
    """What the detectors read of a pattern, (readings,); what is not finite counts as 0.

    Args:
        pattern: (y, x), real.
        detectors: The detectors.
    """
    pixels = pattern.astype(np.float64).ravel()
    if pattern.dtype.kind == "f":
        np.nan_to_num(pixels, copy=False, posinf=0.0, neginf=0.0)
    found: NDArray[np.float64] = detectors.weights @ pixels
    for name in ("com_x", "com_y"):
        place = detectors.names.index(name)
        found[place] = found[place] / found[0] if found[0] > 0 else 0.0
    return found
