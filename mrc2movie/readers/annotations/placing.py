"""From what a file of points counts to the voxels of a volume."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError
from mrc2movie.readers.annotations.imod import Model
from mrc2movie.readers.annotations.points import Picks, Places, Unit
from mrc2movie.readers.volume import VoxelSize

_SAME_SIZE = 0.01
"""Relative: programs round voxel sizes."""
_BINNINGS = (2, 3, 4, 6, 8)
_FITS = 0.99
_FILLS = 0.5
"""Points would fit in a unit where this share of them then lies in the volume, and their rectangle is at least this
share of the largest one: all points fit where a unit makes them small enough."""


@dataclass(frozen=True)
class Points:
    """Points in a volume.

    Attributes:
        places: In voxels, whole numbers are their middles; z is NaN for a point of every section.
        classes: Of each, (n,), the place among `names`.
        names: Of the classes; empty text for points without one.
        diameters: Of each, in voxels along x, (n,); NaN where not known.
        outside: How many lie outside of the volume, and are none of these.
        notes: What the user may want to know of them.
    """

    places: Places
    classes: NDArray[np.intp]
    names: tuple[str, ...]
    diameters: NDArray[np.float64]
    outside: int
    notes: tuple[str, ...] = ()


def placed(picks: Picks, shape: tuple[int, int, int], voxel_size_A: VoxelSize | None, unit: str) -> Points:
    """Where the points of a volume lie in it.

    Args:
        picks: The points of this volume.
        shape: Of the volume: (sections, rows, columns), in file order.
        voxel_size_A: Of the volume, along (x, y, z), where known.
        unit: What the coordinates count, see ``--point-unit``; ``auto`` as the file has it.

    Raises:
        InputError: A voxel size is needed, or none of the points lies in the volume: then another unit is meant.
    """
    sizes = _sizes(voxel_size_A)
    chosen = _asked_for(unit, picks.unit)
    if sizes is None and (chosen.pixel_A is not None or picks.shifts_A is not None):
        why = chosen.in_words if chosen.pixel_A is not None else "Å of their shifts"
        raise InputError(f"the points count {why}, which need a voxel size", "give it with --pixel-size ANGSTROM")
    places = in_voxels(picks, chosen, shape, sizes)
    inside = _inside(places, shape)
    if len(places) and not inside.any():
        raise InputError(
            f"none of the {len(places)} points lies in the volume of {shape[2]} x {shape[1]} x {shape[0]} voxels, "
            f"taken as {chosen.in_words}",
            _what_would_fit(picks, chosen, shape, sizes),
        )
    names, classes = np.unique(picks.classes[inside], return_inverse=True)
    scale = _scale(chosen, sizes)[0]
    notes: tuple[str, ...] = ()
    if chosen.pixel_A not in (None, 1) and scale != 1:
        assert sizes is not None
        notes = (f"their coordinates count {chosen.in_words}, and the voxels have {sizes[0]:.4g} Å",)
    return Points(
        places[inside],
        classes,
        tuple(names.tolist()),
        picks.diameters[inside] * scale,
        int(len(places) - inside.sum()),
        notes,
    )


def scale_of_model(
    model: Model, shape: tuple[int, int, int], voxel_size_A: VoxelSize | None
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """How many voxels of the volume a voxel of a model's has, along (x, y, z), and what is to be said of it.

    Args:
        model: The model.
        shape: Of the volume: (sections, rows, columns), in file order.
        voxel_size_A: Of the volume, along (x, y, z), where known.

    Raises:
        InputError: Nothing of the model lies in the volume.
    """
    sizes = _sizes(voxel_size_A)
    unit = Unit(model.pixel_A)
    scale = _scale(unit, sizes)
    vertices = np.concatenate(
        [
            np.empty((0, 3)),
            *(contour.points for each in model.objects for contour in each.contours),
            *(each.triangles.reshape(-1, 3) for each in model.objects),
        ]
    )
    if len(vertices) and not _inside(vertices * scale, shape).any():
        raise InputError(
            f"nothing of the model lies in the volume of {shape[2]} x {shape[1]} x {shape[0]} voxels",
            "is it of another volume, or --pixel-size needed?",
        )
    if scale[0] == 1 or sizes is None:
        return scale, ()
    return scale, (f"its coordinates count {unit.in_words}, and the voxels have {sizes[0]:.4g} Å",)


def _asked_for(unit: str, of_file: Unit) -> Unit:
    if unit == "auto":
        return of_file
    units = {
        "voxels": replace(of_file, pixel_A=None, origin="first"),
        "angstrom": Unit(1.0),
        "centred-voxels": Unit(None, "half"),
        "centred-angstrom": Unit(1.0, "half"),
        "zyx": Unit(order=(2, 1, 0)),
    }
    return units[unit] if unit in units else replace(of_file, pixel_A=float(unit))


def _sizes(voxel_size_A: VoxelSize | None) -> NDArray[np.float64] | None:
    """Along (x, y, z), in Å; where only the first two are known the third is the first."""
    if voxel_size_A is None:
        return None
    x, y, z = voxel_size_A
    return np.array([x, y, x if z is None else z])


def _scale(unit: Unit, sizes: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """How many voxels what is counted has, along (x, y, z)."""
    if unit.pixel_A is None or sizes is None:
        return np.ones(3)
    scale: NDArray[np.float64] = unit.pixel_A / sizes
    return np.where(np.abs(scale - 1) < _SAME_SIZE, 1.0, scale)


def in_voxels(picks: Picks, unit: Unit, shape: tuple[int, int, int], sizes: NDArray[np.float64] | None) -> Places:
    """The places in voxels, (n, 3), shifts added, also of those outside of the volume."""
    sides = np.array(shape[::-1], np.float64)
    origin = {"first": np.zeros(3), "half": sides / 2, "middle": sides // 2}[unit.origin]
    first = np.array(unit.first) if unit.origin == "first" else np.zeros(3)
    places = (picks.places[:, unit.order] - first) * _scale(unit, sizes) + origin
    if picks.shifts_A is not None and sizes is not None:
        places = places + picks.shifts_A / sizes
    return np.asarray(places, np.float64)


def _inside(places: Places, shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    sides = np.array(shape[::-1])
    inside: NDArray[np.bool_] = np.all(((places >= -0.5) & (places <= sides - 0.5)) | np.isnan(places), axis=1)
    return inside


def _what_would_fit(picks: Picks, taken: Unit, shape: tuple[int, int, int], sizes: NDArray[np.float64] | None) -> str:
    fitting: dict[str, float] = {}
    for option, unit in _candidates(sizes):
        places = in_voxels(picks, unit, shape, sizes)
        if unit != taken and _inside(places, shape).mean() >= _FITS:
            fitting[f"--point-unit {option} ({unit.in_words})"] = float(np.prod(1 + np.ptp(places[:, :2], axis=0)))
    if not fitting:
        return "are they of another volume?"
    largest = max(fitting.values())
    return f"{' or '.join(said for said, area in fitting.items() if area >= _FILLS * largest)} would fit"


def _candidates(sizes: NDArray[np.float64] | None) -> Iterator[tuple[str, Unit]]:
    """What coordinates are often in, and how to ask for it."""
    yield "voxels", Unit()
    yield "zyx", Unit(order=(2, 1, 0))
    yield "centred-voxels", Unit(None, "half")
    if sizes is None:
        return
    yield "angstrom", Unit(1.0)
    yield "centred-angstrom", Unit(1.0, "half")
    for binning in _BINNINGS:
        for pixel_A in (float(sizes[0]) / binning, float(sizes[0]) * binning):
            rounded = float(f"{pixel_A:.5g}")
            if math.isfinite(rounded) and rounded != 1:
                yield f"{rounded:g}", Unit(rounded)
