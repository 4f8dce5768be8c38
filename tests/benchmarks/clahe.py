"""Whether local contrast (CLAHE) loses something in 8 bits that 16 would keep: PSNR, greys, and milliseconds.

    python tests/benchmarks/clahe.py

The reference is CLAHE written in NumPy with the histograms of 256 bins that OpenCV uses on 8 bits, its mapping
interpolated between the bins and applied to grey values that are not rounded.
"""

import time
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray
from speed import JPEG

from mrc2movie.demo import tilt_images, tomogram_sections
from mrc2movie.options.grey_rule import GreyRule
from mrc2movie.picture.greys import GreyRange, choose_range, collect, section_statistics

SIZE, LIMIT, TILES = 1024, 2.0, 8
TILE = SIZE // TILES


def unrounded(greys: NDArray[np.float64]) -> NDArray[np.float64]:
    """CLAHE of (SIZE, SIZE) greys from 0 to 255 without rounding them."""
    maps = np.empty((TILES, TILES, 256))
    for row, column in np.ndindex(TILES, TILES):
        tile = greys[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
        counts = np.bincount(np.rint(tile).astype(int).ravel(), minlength=256)
        limit = int(LIMIT * TILE * TILE / 256)
        more, rest = divmod(int((counts - limit).clip(0).sum()), 256)
        counts = counts.clip(max=limit) + more
        counts[np.arange(0, 256, max(256 // max(rest, 1), 1))[:rest]] += 1
        maps[row, column] = np.cumsum(counts) * 255 / (TILE * TILE)
    place = np.arange(SIZE) / TILE - 0.5
    before = np.floor(place).astype(int)
    share = place - before
    lower = np.floor(greys).astype(int).clip(0, 254)

    def mapped(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float64]:
        where = rows.clip(0, TILES - 1)[:, None], columns.clip(0, TILES - 1)[None]
        low, high = maps[(*where, lower)], maps[(*where, lower + 1)]
        return np.asarray(low + (greys - lower) * (high - low))

    above, below = (
        mapped(rows, before) * (1 - share) + mapped(rows, before + 1) * share for rows in (before, before + 1)
    )
    return np.asarray(above * (1 - share[:, None]) + below * share[:, None])


def psnr(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    """In dB, of greys up to 255."""
    return float(10 * np.log10(255**2 / np.mean(np.subtract(one, other, dtype=float) ** 2)))


def milliseconds(clahe: cv2.CLAHE, greys: NDArray[np.integer]) -> float:
    """Of one section in one thread."""
    times = []
    for _ in range(30):
        begin = time.perf_counter()
        clahe.apply(greys)
        times.append(time.perf_counter() - begin)
    return 1000 * median(times)


def compare(name: str, section: NDArray[np.generic], grey_range: GreyRange) -> None:
    """Print one line."""
    greys = ((section.astype(float) - grey_range.low) / (grey_range.high - grey_range.low)).clip(0, 1)
    eight, sixteen = np.rint(greys * 255).astype(np.uint8), np.rint(greys * 65535).astype(np.uint16)
    clahe = cv2.createCLAHE(LIMIT, (TILES, TILES))
    reference = unrounded(greys * 255)
    rounded = np.rint(reference).clip(0, 255).astype(np.uint8)
    jpeg = cv2.imdecode(cv2.imencode(".jpg", cv2.cvtColor(rounded, cv2.COLOR_GRAY2BGR), JPEG)[1], 0)
    assert jpeg is not None
    span = np.ptp(np.percentile(eight, (0.1, 99.9)))
    print(
        f"{name:22s} 99.8 % within {span:3.0f} greys: 8 bits {psnr(clahe.apply(eight), reference):.1f} dB, "
        f"16 bits {psnr(clahe.apply(sixteen) / 257, reference):.1f} dB, JPEG {psnr(jpeg, reference):.1f} dB; "
        f"{milliseconds(clahe, eight):.1f} and {milliseconds(clahe, sixteen):.1f} ms"
    )


def main() -> None:
    """Compare."""
    cv2.setNumThreads(1)
    tilt = next(iter(tilt_images(SIZE, np.array([0.0]))))
    tomogram = list(tomogram_sections(SIZE, 40))[20]
    for name, section in (("tilt", tilt), ("tomogram", tomogram)):
        statistics = collect([section_statistics(section, slice(None))])
        for rule in ("auto", "minmax"):
            compare(f"{name} {rule}", section, choose_range(statistics, GreyRule.parse(rule)))
    low, high = np.percentile(tomogram, (0.1, 99.9))
    compare("tomogram stretched", tomogram, GreyRange(low - 5.5 * (high - low), high + 5.5 * (high - low)))


if __name__ == "__main__":
    main()
