"""A volume beside the movie, whatever its format: what it is, and how it is made of the sections that pass by."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import OutputError
from mrc2movie.picture.render import Frame
from mrc2movie.readers.volume import Axis, Section
from mrc2movie.store.files import files_of, flush_to_disk
from mrc2movie.workers import Share
from mrc2movie.writers.product import Part, Product, Work

Plane: TypeAlias = NDArray[np.generic]
"""(y, x), contiguous, of the volume's type; row 0 is the bottom of the picture."""


@dataclass(frozen=True)
class Grid:
    """The voxels of a volume: how many, of what type, and where they lie.

    Attributes:
        shape: (sections, rows, columns).
        dtype: Of the voxels, native.
        axes: The directions that columns, rows and sections follow.
        voxel_size_A: Along (columns, rows, sections); None for each that is not known.
        origin_A: The centre of the first voxel along (columns, rows, sections).
        is_volume: Whether the sections follow each other in space; else they are a stack of images.
        name: What the volume is called.
        history: What was done to the voxels, in lines.
        window: What the movie shows as black and white.
        inverted: Whether the movie shows black as white.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    axes: tuple[Axis, Axis, Axis]
    voxel_size_A: tuple[float | None, float | None, float | None]
    origin_A: tuple[float, float, float]
    is_volume: bool
    name: str
    history: tuple[str, ...]
    window: tuple[float, float]
    inverted: bool = False


@dataclass(frozen=True)
class VoxelStatistics:
    """Statistics of finite voxels.

    Attributes:
        count: Of finite voxels; where it is 0, the others tell nothing.
        minimum: The smallest.
        maximum: The largest.
        mean: Of all.
        squares: The sum of the squared distances from the mean.
    """

    count: int = 0
    minimum: float = math.inf
    maximum: float = -math.inf
    mean: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, plane: Plane) -> "VoxelStatistics":
        """Those of a plane."""
        values: NDArray[Any] = plane.astype(np.float32) if plane.dtype == np.float16 else plane
        minimum, maximum = float(values.min()), float(values.max())
        if not (math.isfinite(minimum) and math.isfinite(maximum)):
            values = values[np.isfinite(values)].reshape(1, -1)
            if not values.size:
                return cls()
            minimum, maximum = float(values.min()), float(values.max())
        mean, deviation = (float(found[0, 0]) for found in cv2.meanStdDev(values))
        return cls(values.size, minimum, maximum, mean, deviation**2 * values.size)

    def __add__(self, other: "VoxelStatistics") -> "VoxelStatistics":
        count = self.count + other.count
        if not count:
            return self
        # Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
        apart = other.mean - self.mean
        return VoxelStatistics(
            count,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            self.mean + apart * other.count / count,
            self.squares + other.squares + apart**2 * self.count * other.count / count,
        )

    @property
    def deviation(self) -> float:
        """The standard deviation."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0


_AS_THEY_ARE = {
    "mrc": ("int8", "int16", "uint16", "float16"),
    "mrcz": ("int8", "int16", "uint16", "int32", "uint32"),
    "zarr": ("int8", "uint8", "int16", "uint16", "int32", "uint32"),
}
"""The types that a format keeps; of MRC those of its version 20141, of MRCZ what mrcz reads, of Zarr what neuroglancer
does. All have float32."""


def stored_type(dtype: np.dtype[np.generic], volume_format: str) -> np.dtype[np.generic]:
    """What voxels of a type are written as."""
    name = "uint16" if dtype == np.uint8 and volume_format != "zarr" else dtype.name  # MRC has no unsigned bytes
    return np.dtype(name if name in _AS_THEY_ARE[volume_format] else np.float32)


class VolumeWriter(ABC):
    """A volume that is being written."""

    @abstractmethod
    def encode(self, index: int, plane: Plane) -> Any:
        """Do with a plane what any thread can; the plane is valid only during the call."""

    @abstractmethod
    def write(self, index: int, encoded: Any) -> None:
        """Take what `encode` gave, in the thread of the file: planes follow each other upward, or downward."""

    @abstractmethod
    def finish(self, statistics: VoxelStatistics) -> None:
        """Complete the volume, after its last plane."""

    @abstractmethod
    def verify(self, ends: Mapping[int, Plane]) -> None:
        """Open the finished volume again, and hold it against what it must be.

        Args:
            ends: The first plane and the last.

        Raises:
            OutputError: It is not so.
        """

    @abstractmethod
    def release(self) -> None:
        """Close all files, when no thread uses them any more; harmless where that was done before."""


class VolumeProduct(Product):
    """The volume of one file, made of its prepared sections.

    Args:
        grid: What it is.
        writer: Writes it.
        path: Where: a file or a directory.
        shown: How many sections the movie shows.
        deep: Each plane is the mean of so many of them; those at the end that fill none are left out.
        backward: Whether they pass by from the last to the first: the volume is written forward all the same.
        row0_at_bottom: Whether the first row of a section is the bottom of the picture, as it is in the volume.
        workers: What the file uses of the threads of the run.
        watch: Measures the time.
    """

    def __init__(
        self,
        grid: Grid,
        writer: VolumeWriter,
        path: Path,
        *,
        shown: int,
        deep: int,
        backward: bool,
        row0_at_bottom: bool,
        workers: Share,
        watch: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._grid = grid
        self._writer = writer
        self._path = path
        self._first = shown - 1 if backward else 0
        self._deep = deep
        self._upward = 1 if row0_at_bottom else -1
        self._workers = workers
        self._watch = watch
        self._ends: dict[int, Plane] = {}
        self._statistics = VoxelStatistics()
        self._sum: NDArray[np.float64] | None = None
        self._added = 0
        self._flushing: Future[None] | None = None

    def worker(self) -> Work:
        """Encode the plane that a section is; where a plane is the mean of several, keep the section."""

        def work(position: int, section: Section, frame: Frame) -> Part:
            number = abs(position - self._first)
            with self._watch():
                if self._deep > 1:
                    return number, section.copy()
                return self._encoded(number, section)

        return work

    def take(self, part: Part) -> None:
        """Write a plane, or add a section to those that become one."""
        with self._watch():
            if self._deep == 1:
                self._write(*part)
            else:
                self._add(*part)

    def _add(self, number: int, section: Section) -> None:
        index = number // self._deep
        if index == self._grid.shape[0]:
            return
        with np.errstate(over="ignore", invalid="ignore"):
            self._sum = section.astype(np.float64) if self._sum is None else np.add(self._sum, section, out=self._sum)
        self._added += 1
        if self._added == self._deep:
            mean, self._sum, self._added = self._sum / self._deep, None, 0
            self._write(*self._encoded(index, mean))

    def _encoded(self, index: int, voxels: NDArray[np.generic]) -> tuple[int, VoxelStatistics, Any]:
        with np.errstate(over="ignore", invalid="ignore"):  # a float64 beyond float32 becomes infinite
            plane = np.ascontiguousarray(voxels[:: self._upward], self._grid.dtype)
        if index in (0, self._grid.shape[0] - 1):
            self._ends[index] = plane.copy()
        return index, VoxelStatistics.of(plane), self._writer.encode(index, plane)

    def _write(self, index: int, statistics: VoxelStatistics, encoded: Any) -> None:
        self._statistics += statistics
        self._writer.write(index, encoded)

    def finish(self) -> None:
        """Complete and verify the volume, and begin to flush it: that goes on beside what else is to be done."""
        with self._watch():
            self._writer.finish(self._statistics)
            self._writer.verify(self._ends)
        self._flushing = self._workers.start(_flush, self._path)

    def wait(self) -> None:
        """Wait until the finished volume is on the disk.

        Raises:
            OutputError: The disk reports that it is not.
        """
        assert self._flushing is not None
        self._flushing.result()

    def abandon(self) -> None:
        """Nothing is closed while threads may write: the writer closes its files when they are done."""


def _flush(path: Path) -> None:
    for file in files_of(path):
        flush_to_disk(file, "the volume")


def require_finished(as_it_must_be: bool, what: str) -> None:
    """Refuse a volume that is not what it must be.

    Raises:
        OutputError: It is not.
    """
    if not as_it_must_be:
        raise OutputError(f"the volume was not written well: {what}", "is the disk full?")
