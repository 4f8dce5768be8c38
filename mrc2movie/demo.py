"""A synthetic tilt series and tomogram that look like cryo-EM data, for a first run and for the benchmarks.

A slab of vitreous ice holds vesicles with a membrane, ribosome-like particles, a microtubule and gold beads. Tilts are
its projections with shot noise and the contrast transfer function; the tomogram is the slab with reconstruction noise.
Densities are negative where matter is: in cryo-EM micrographs matter is dark.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import mrcfile
import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import OutputError, about

VOXEL_SIZE_A = 13.6
_GOLD_RADIUS = 50 / VOXEL_SIZE_A  # 10 nm beads
_MEMBRANE = 40 / VOXEL_SIZE_A


@dataclass(frozen=True)
class Spheres:
    """Solid spheres: what all the matter of the phantom is made of.

    Attributes:
        centre: (n, 3) x, y, z in voxels from the middle of the slab.
        radius: (n,) voxels.
        density: (n,) per voxel, relative to ice.
    """

    centre: NDArray[np.float64]
    radius: NDArray[np.float64]
    density: NDArray[np.float64]


def phantom(size: int, thickness: int, seed: int = 5) -> Spheres:
    """A slab of which a tilt image shows `size` voxels, `thickness` voxels deep.

    It is twice as wide, so that it still fills the image at a tilt of 60 degrees.
    """
    rng = np.random.default_rng(seed)
    half, deep = size / 2, thickness / 2
    parts: list[tuple[NDArray[np.float64], float, float]] = []

    def scatter(count: int, margin: float) -> NDArray[np.float64]:
        limit = np.array([size, half, max(deep - margin, 1)])
        return rng.uniform(-limit, limit, (count, 3))

    def add(centres: NDArray[np.float64], radius: float, density: float) -> None:
        parts.extend((centre, radius, density) for centre in centres)

    scale = size / 512
    for centre in scatter(round(10 * scale) + 2, 0.3 * thickness):
        radius = rng.uniform(0.22, 0.48) * thickness
        add(centre[None], radius, 0.30)  # a membrane is a sphere with a slightly smaller one taken out
        add(centre[None], radius - _MEMBRANE, -0.30)
        inside = rng.normal(0, radius / 3, (12, 3))
        add(centre + inside, 4, 0.35)
    for centre in scatter(round(180 * scale**2), 10):  # ribosomes: two lobes and satellites
        add(centre + rng.normal(0, 5, (9, 3)), 5, 0.30)
    turn = np.arange(-1.2 * size, 1.2 * size, 6.0)
    angle, slope = rng.uniform(0.2, 0.6), rng.uniform(-0.1, 0.1) * thickness / size
    for protofilament in 2 * np.pi * np.arange(13) / 13:  # a microtubule, 25 nm wide
        around = 125 / VOXEL_SIZE_A * np.array([np.cos(protofilament), np.sin(protofilament)])
        helix = turn + 1.4 * protofilament
        line = np.stack([helix, np.full_like(helix, around[0] + 0.1 * size), around[1] + slope * helix], axis=1)
        turned = line @ np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        add(turned, 2.2, 0.35)
    gold = scatter(round(32 * scale**2) + 8, 2)
    add(gold, _GOLD_RADIUS, 3.0)
    return Spheres(*(np.array(column, dtype=float) for column in zip(*parts, strict=True)))


def projection(spheres: Spheres, size: int, tilt_degrees: float) -> NDArray[np.float32]:
    """The slab's matter along the beam, after a tilt about the y axis: (size, size) thickness times density."""
    tilt = np.deg2rad(tilt_degrees)
    x = spheres.centre[:, 0] * np.cos(tilt) + spheres.centre[:, 2] * np.sin(tilt)
    return _paint(np.zeros((size, size), np.float32), x, spheres.centre[:, 1], spheres.radius, 2 * spheres.density)


def section(spheres: Spheres, size: int, z: float) -> NDArray[np.float32]:
    """A plane through the slab, one voxel thick, at this height above its middle: (size, size) density."""
    height = spheres.centre[:, 2] - z
    met = np.abs(height) < spheres.radius
    plane = np.zeros((size, size), np.float32)
    radius = np.sqrt(spheres.radius[met] ** 2 - height[met] ** 2)
    return _paint(plane, spheres.centre[met, 0], spheres.centre[met, 1], radius, spheres.density[met], flat=True)


def _paint(
    image: NDArray[np.float32],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    radius: NDArray[np.float64],
    density: NDArray[np.float64],
    flat: bool = False,
) -> NDArray[np.float32]:
    """Add discs: of constant density, or as thick as a sphere is along the beam. Edges are smooth by half a voxel."""
    rows, columns = image.shape
    down, across = np.arange(rows)[:, None], np.arange(columns)
    for cx, cy, r, d in np.stack([x + columns / 2, y + rows / 2, radius, density], axis=1).tolist():
        top, bottom = max(0, int(cy - r - 1)), min(rows, int(cy + r + 2))
        left, right = max(0, int(cx - r - 1)), min(columns, int(cx + r + 2))
        if top >= bottom or left >= right:
            continue
        square = (across[left:right] - cx) ** 2 + (down[top:bottom] - cy) ** 2
        inside = np.clip(r + 0.5 - np.sqrt(square), 0, 1) if flat else np.sqrt(np.maximum(r * r - square, 0))
        image[top:bottom, left:right] += d * inside
    return image


def tilt_images(size: int, tilts_degrees: NDArray[np.float64], thickness: int = 96) -> Iterator[NDArray[np.int16]]:
    """The images of a tilt series, (size, size) counts: darker and noisier at high tilt, with a few hot pixels."""
    rng = np.random.default_rng(11)
    spheres = phantom(size, thickness)
    transfer = _contrast_transfer(size)
    for tilt in tilts_degrees:
        path = thickness / np.cos(np.deg2rad(tilt))
        matter = projection(spheres, size, tilt)
        waves = np.fft.rfft2(matter) * transfer
        phase = np.fft.irfft2(waves, (size, size))
        dose = 900 * np.exp(-path / 350)
        expected = dose * (1 - 0.025 * phase - 0.004 * matter)
        image = rng.normal(expected, np.sqrt(expected.clip(1)))
        hot = rng.integers(0, size, (2, 3))
        image[hot[0], hot[1]] = 30000
        yield image.clip(-32768, 32767).astype(np.int16)


def tomogram_sections(size: int, count: int) -> Iterator[NDArray[np.float32]]:
    """The sections of a tomogram, (size, size), mean 0 and noise of deviation 1 before smoothing."""
    rng = np.random.default_rng(13)
    spheres = phantom(size, count)
    for z in range(count):
        noise = cv2.GaussianBlur(rng.standard_normal((size, size), np.float32), (0, 0), 0.7)
        matter = cv2.GaussianBlur(section(spheres, size, z - count / 2 + 0.5), (0, 0), 0.8)
        yield np.asarray(noise - 2.6 * matter, np.float32)


def _contrast_transfer(size: int) -> NDArray[np.float64]:
    """Phase contrast of a 300 kV microscope at 4 µm defocus, with its envelope, for `np.fft.rfft2`.

    Formula: Wade, Ultramicroscopy 46 (1992) 145, without spherical aberration, negligible at these spacings.
    """
    wavelength_A, defocus_A = 0.0197, 40_000
    fy = np.fft.fftfreq(size, VOXEL_SIZE_A)[:, None]
    fx = np.fft.rfftfreq(size, VOXEL_SIZE_A)[None, :]
    square = fx * fx + fy * fy
    transfer: NDArray[np.float64] = np.sin(np.pi * wavelength_A * defocus_A * square + 0.1) * np.exp(-square * 900)
    return transfer


def make_demo(directory: Path) -> Path:
    """Write ``demo_data/tilt_series.mrc``, its tilt angles, and ``demo_data/tomogram.mrc``; returns ``demo_data``.

    Raises:
        OutputError: One of them is a symbolic link; nothing was written.
        OSError: One cannot be written.
    """
    data = directory / "demo_data"
    files = [data / name for name in ("tilt_series.mrc", "tilt_series.rawtlt", "tomogram.mrc")]
    for path in (data, *files):
        if path.is_symlink():
            with about(path):
                raise OutputError("is a symbolic link, which is never written through", "remove it")
    data.mkdir(parents=True, exist_ok=True)
    for path in files:  # not written into: one may be a pipe, or a hard link to another file
        path.unlink(missing_ok=True)
    tilt_series, angles, tomogram = files
    tilts = np.arange(-60.0, 61.0, 3.0)
    _write(tilt_series, np.stack(list(tilt_images(512, tilts))), is_volume=False)
    np.savetxt(angles, tilts, "%.1f")
    sections = np.stack(list(tomogram_sections(512, 96)))
    _write(tomogram, (sections * 24).clip(-128, 127).astype(np.int8), is_volume=True)
    return data


def _write(path: Path, voxels: NDArray[np.int16] | NDArray[np.int8], is_volume: bool) -> None:
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(voxels)
        mrc.voxel_size = VOXEL_SIZE_A
        if is_volume:
            mrc.set_volume()
        else:
            mrc.set_image_stack()
        mrc.add_label("mrc2movie --demo: synthetic, no real data")
