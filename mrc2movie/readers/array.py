"""Arrays as volumes: sections that are in memory already, or in a memory map that NumPy made."""

import math
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError, UsageError, about
from mrc2movie.readers.volume import Description, Load, Section, Volume
from mrc2movie.readers.voxels import shown_dtype

Lengths: TypeAlias = tuple[float, float, float]
"""In Å along (columns, rows, sections)."""


class ArrayVolume(Volume):
    """The sections of an array; each is copied when it is loaded, so that the array stays as it is.

    Args:
        array: (z, y, x) of any real dtype and byte order, or (z, y, x, 3) uint8 red, green, blue.
        voxel_size_A: The side of a voxel in Å, or three along (columns, rows, sections); None where it is not known.

    Attributes:
        stored_bytes: Of the whole array.

    Raises:
        InputError: It has no sections, or its numbers are not real.
        UsageError: The voxel size is none.
    """

    def __init__(self, array: NDArray[Any], voxel_size_A: float | Lengths | None = None) -> None:
        self.path = Path("array")
        with about(self.path):
            self._array = array = np.asanyarray(array)
            _check(array)
            native = np.dtype(np.uint8) if array.dtype == bool else array.dtype.newbyteorder("=")
            shown = shown_dtype(native)
            sections, rows, columns = array.shape[:3]
            self.description = Description(
                shape=(sections, rows, columns),
                dtype=shown,
                row0_at_bottom=True,
                voxel_size_A=_lengths(voxel_size_A),
                header={"array": {"shape": list(array.shape), "dtype": str(array.dtype)}},
                storage={"array": str(array.dtype)},
                colour=array.ndim == 4,
                notes=() if shown == native else (f"the voxels are {native}, and are taken as float32",),
            )
        self.stored_bytes = array.nbytes
        self.scratch_bytes = math.prod(self.description.section_shape) * shown.itemsize

    def expect(self, numbers: Iterable[int], rising: bool) -> None:
        """An array is ready for any order."""

    def section(self, number: int) -> Load:
        """The way to load a section, from any thread."""
        return partial(self._load, number)

    def _load(self, number: int, scratch: NDArray[np.uint8]) -> Section:
        section = scratch[: self.scratch_bytes].view(self.description.dtype).reshape(self.description.section_shape)
        with np.errstate(over="ignore", invalid="ignore"):  # a float64 beyond float32 becomes infinite
            np.copyto(section, self._array[number], casting="unsafe")
        return section

    def close(self) -> None:
        """The array is the caller's."""


def _check(array: NDArray[Any]) -> None:
    if array.ndim not in (3, 4) or 0 in array.shape or (array.ndim == 4 and array.shape[3] != 3):
        what = "give (z, y, x), or (z, y, x, 3) for red, green, blue; array[None] makes one section of a picture"
        raise InputError(f"of shape {array.shape} is no stack of sections", what)
    if array.ndim == 4 and array.dtype != np.uint8:
        raise InputError(f"of {array.dtype} is no stack of coloured sections", "make them uint8")
    if array.dtype.kind not in "biuf":
        raise InputError(f"of {array.dtype} has no real numbers", "give its real part, or its absolute values")


def _lengths(voxel_size_A: float | Lengths | None) -> Lengths | None:
    if voxel_size_A is None:
        return None
    try:
        x, y, z = np.broadcast_to(np.asarray(voxel_size_A, np.float64), 3).tolist()
        if min(x, y, z) > 0 and math.isfinite(x + y + z):
            return x, y, z
    except (ValueError, TypeError):
        pass
    raise UsageError(f"voxel_size_A {voxel_size_A} is no size", "give a length in Angstrom, or three along x, y, z")
