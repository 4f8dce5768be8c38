"""The virtual images of a scan, in a directory beside its movie: each as MRC and as PNG.

``sum``, ``bright_field``, ``dark_field``, ``com_x`` and ``com_y`` (see `Detectors`) are images of the scan, (scans,
lines, positions) float32; the mean of all frames where the beam came to a position more than once, 0 where it never
did. The first line of the scan is the top of the picture in 3dmod and in the PNG. ``mean_pattern.mrc`` is the pattern
that the masks were made from; its PNG, the logarithm, shows them. ``com_path.png`` is the way of the centre of mass.
"""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import saying
from mrc2movie.picture.detectors import Detectors
from mrc2movie.picture.plain import plain_picture
from mrc2movie.picture.render import Frame
from mrc2movie.readers.scans.scan import Scan
from mrc2movie.readers.volume import AXES, Description
from mrc2movie.version import __version__
from mrc2movie.writers.mrc import MrcWriter
from mrc2movie.writers.stills import of_size, write_png
from mrc2movie.writers.volume import Grid, VoxelStatistics

_SIDE = 512
_PATH_SIDE, _MARGIN = 768, 24
_FRACTION = 16
"""OpenCV draws to a sixteenth of a pixel."""
_NOT_WRITTEN = "the virtual images cannot be written"


def images_of(found: NDArray[np.float64], detectors: Detectors, scan: Scan) -> Mapping[str, NDArray[np.float32]]:
    """The readings at their positions, (scans, lines, positions) each, by their names.

    Args:
        found: (sections, readings).
        detectors: Which readings.
        scan: Where the sections were recorded.
    """
    numbers = np.arange(len(found))
    x, y = scan.places(numbers)
    scans = -(-len(found) // scan.sections)
    places = (numbers // scan.sections * scan.rows + y) * scan.columns + x
    size = scans * scan.rows * scan.columns
    visits = np.maximum(np.bincount(places, minlength=size), 1)
    return {
        name: (np.bincount(places, values, minlength=size) / visits)
        .reshape(scans, scan.rows, scan.columns)
        .astype(np.float32)
        for name, values in zip(detectors.names, found.T, strict=True)
    }


def write_virtual(
    directory: Path,
    mean: NDArray[np.float64],
    detectors: Detectors,
    found: NDArray[np.float64],
    description: Description,
) -> None:
    """Write the images into a directory, which is made.

    Args:
        directory: Where.
        mean: (y, x), the pattern that the masks were made from.
        detectors: The masks.
        found: (sections, readings).
        description: Of the scan.

    Raises:
        OutputError: They cannot be written.
    """
    scan = description.scan
    assert scan is not None
    with saying(_NOT_WRITTEN):
        directory.mkdir()
        for name, image in images_of(found, detectors, scan).items():
            _write_mrc(directory / f"{name}.mrc", image[:, ::-1], f"{name} of the patterns", scan.step_A)
            write_png(directory / f"{name}.png", of_size(plain_picture(image[0], row0_at_bottom=False), _SIDE))
        upward = mean[:: 1 if description.row0_at_bottom else -1].astype(np.float32)
        _write_mrc(directory / "mean_pattern.mrc", upward[None], "mean of the patterns", None)
        write_png(directory / "mean_pattern.png", masks_picture(mean, detectors, description.row0_at_bottom))
        x, y = (found[:, detectors.names.index(name)] for name in ("com_x", "com_y"))
        write_png(directory / "com_path.png", path_picture(x, y))


def _write_mrc(path: Path, image: NDArray[np.float32], what: str, step_A: tuple[float, float] | None) -> None:
    x, y = step_A or (None, None)
    grid = Grid(
        shape=(image.shape[0], image.shape[1], image.shape[2]),
        dtype=image.dtype,
        axes=AXES,
        voxel_size_A=(x, y, None),
        origin_A=(0.0, 0.0, 0.0),
        is_volume=False,
        name=path.stem,
        history=(f"mrc2movie {__version__}: {what}",),
        window=(float(image.min()), float(image.max())),
    )
    writer = MrcWriter(path, grid)
    try:
        statistics = VoxelStatistics()
        for number, section in enumerate(image):
            plane = np.ascontiguousarray(section)
            writer.encode(number, plane)
            statistics += VoxelStatistics.of(plane)
        writer.finish(statistics)
    finally:
        writer.release()


def masks_picture(mean: NDArray[np.float64], detectors: Detectors, row0_at_bottom: bool) -> Frame:
    """The logarithm of the mean pattern with the edges of the masks: the bright field green, the dark field orange."""
    grey = of_size(plain_picture(np.log1p(np.maximum(mean, 0)), row0_at_bottom=row0_at_bottom), _SIDE)
    frame = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)
    times = frame.shape[1] / mean.shape[1]
    row = mean.shape[0] - 1 - detectors.centre[0] if row0_at_bottom else detectors.centre[0]
    centre = [round(((place + 0.5) * times - 0.5) * _FRACTION) for place in (detectors.centre[1], row)]
    circles = [(detectors.radius, (0, 220, 0)), *((radius, (255, 140, 0)) for radius in detectors.annulus or ())]
    for radius, colour in circles:
        cv2.circle(frame, centre, round(radius * times * _FRACTION), colour, 1, cv2.LINE_AA, _FRACTION.bit_length() - 1)
    return frame


def path_picture(x: NDArray[np.float64], y: NDArray[np.float64]) -> Frame:
    """The way of the centre of mass through a scan, to the right and upward; the cross is the centre of the disc.

    Args:
        x: (sections,) pixels to the right.
        y: (sections,) pixels upward.
    """
    farthest = float(np.quantile(np.abs(np.concatenate([x, y])), 0.999)) or 1.0
    scale = (_PATH_SIDE / 2 - _MARGIN) / farthest
    points = np.stack([x, -y], axis=1) * scale + _PATH_SIDE / 2
    drawn = np.rint(points.clip(0, _PATH_SIDE) * _FRACTION).astype(np.int32)
    frame = np.zeros((_PATH_SIDE, _PATH_SIDE), np.uint8)
    middle = _PATH_SIDE // 2
    cv2.line(frame, (0, middle), (_PATH_SIDE, middle), (60,))
    cv2.line(frame, (middle, 0), (middle, _PATH_SIDE), (60,))
    cv2.polylines(frame, [drawn[:, None]], False, (150,), 1, cv2.LINE_AA, _FRACTION.bit_length() - 1)
    for point in (points.clip(0, _PATH_SIDE - 1)).astype(np.int64):
        frame[point[1], point[0]] = 255
    return frame
