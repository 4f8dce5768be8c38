"""Volumes as OME-Zarr: a directory with the volume in several resolutions, in compressed chunks that viewers load.

Formats: https://ngff.openmicroscopy.org/0.5/, https://ngff.openmicroscopy.org/0.4/.

A chunk has voxels of many sections. So planes are first kept in a temporary file, chunk by chunk, one file for each
slab of them; when a slab is full, the threads compress its chunks, and the file is gone. Memory holds a few chunks,
whatever the size of the sections.
"""

import logging
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
import zarr
from numcodecs import Zstd
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from mrc2movie.errors import saying
from mrc2movie.store.spool import Spool
from mrc2movie.workers import Share
from mrc2movie.writers.volume import Grid, Plane, VolumeWriter, VoxelStatistics, require_finished

logging.getLogger("zarr.core.sync").addHandler(logging.NullHandler())
"""Where a process ends while the machine is busy, it would print that its own thread is slow."""

CHUNK = (64, 256, 256)
_ZSTD_LEVEL = 3
_NOT_WRITTEN = "the volume cannot be written"
_KEPT = "the sections of a volume", "take --volume-format mrc"

Shape: TypeAlias = tuple[int, int, int]
Halved: TypeAlias = NDArray[np.floating[Any]]
"""A plane with half of its rows and columns, as means in floating point."""


class ZarrWriter(VolumeWriter):
    """An OME-Zarr image.

    Each resolution has the means of 2 x 2 x 2 voxels of the one before, fewer at an end that is odd, until one chunk
    holds it.

    Args:
        path: The directory, which must not be there yet.
        grid: What the volume is.
        version: Of OME-Zarr.
        workers: What the file uses of the threads of the run.

    Raises:
        OutputError: The directory cannot be made.
    """

    def __init__(self, path: Path, grid: Grid, version: Literal["0.5", "0.4"], workers: Share) -> None:
        self._path = path
        self._grid = grid
        self._version = version
        with saying(_NOT_WRITTEN):
            self._group = zarr.create_group(path, zarr_format=3 if version == "0.5" else 2)
            self._levels = [
                _Level(self._array(str(number), shape), shape, path.parent, workers)
                for number, shape in enumerate(_shapes(grid.shape))
            ]

    def _array(self, name: str, shape: Shape) -> "zarr.Array[Any]":
        chunks = tuple(min(most, side) for most, side in zip(CHUNK, shape, strict=True))
        if self._version == "0.4":
            return self._group.create_array(
                name,
                shape=shape,
                chunks=chunks,
                dtype=self._grid.dtype,
                compressors=Zstd(_ZSTD_LEVEL),
                chunk_key_encoding={"name": "v2", "separator": "/"},
            )
        return self._group.create_array(
            name,
            shape=shape,
            chunks=chunks,
            dtype=self._grid.dtype,
            compressors=ZstdCodec(level=_ZSTD_LEVEL),
            dimension_names=self._grid.axes[::-1],
        )

    def encode(self, index: int, plane: Plane) -> Halved | None:
        """Keep the plane in its chunks, and halve it for the next resolution."""
        self._levels[0].keep(index, plane)
        return _halved(plane) if len(self._levels) > 1 else None

    def write(self, index: int, encoded: Halved | None) -> None:
        """Make planes of the other resolutions of it."""
        self._levels[0].complete(index)
        for finer, level in pairwise(self._levels):
            if encoded is None or (mean := level.mean_of_pair(index, encoded, finer.shape[0])) is None:
                return
            if level.shape[0] < finer.shape[0]:
                index //= 2
            level.keep(index, self._as_stored(mean))
            level.complete(index)
            encoded = _halved(mean)

    def _as_stored(self, mean: Halved) -> Plane:
        dtype = self._grid.dtype
        return mean.astype(dtype) if dtype.kind == "f" else np.rint(mean).astype(dtype)

    def finish(self, statistics: VoxelStatistics) -> None:
        """Wait until all chunks are written, and write what describes them."""
        for level in self._levels:
            level.finish()
        described = self._described(statistics)
        with saying(_NOT_WRITTEN):
            self._group.update_attributes(described)

    def _described(self, statistics: VoxelStatistics) -> dict[str, Any]:
        grid, version = self._grid, {"version": self._version}
        image = {
            "name": grid.name,
            "axes": [
                {"name": axis, "type": "space", **({"unit": "nanometer"} if size else {})}
                for axis, size in zip(grid.axes[::-1], grid.voxel_size_A[::-1], strict=True)
            ],
            "datasets": [
                {"path": str(number), "coordinateTransformations": _placed(grid, level.shape)}
                for number, level in enumerate(self._levels)
            ],
            "type": "mean",
            "metadata": {"description": "; ".join(grid.history)},
        }
        low, high = grid.window
        known = statistics.count > 0
        window = {
            "min": min(low, statistics.minimum) if known else low,
            "max": max(high, statistics.maximum) if known else high,
            "start": low,
            "end": high,
        }
        channel = {
            "active": True,
            "coefficient": 1,
            "color": "FFFFFF",
            "family": "linear",
            "inverted": grid.inverted,
            "label": grid.name,
            "window": window,
        }
        display = {"channels": [channel], "rdefs": {"model": "greyscale", "defaultZ": grid.shape[0] // 2}}
        if self._version == "0.4":
            return {"multiscales": [{**version, **image}], "omero": {**version, **display}}
        # Where neuroglancer 2.41 looks for the window in both versions: outside of what belongs to OME-Zarr.
        return {"ome": {**version, "multiscales": [image], "omero": display}, "omero": display}

    def verify(self, ends: Mapping[int, Plane]) -> None:
        """Open the directory again, and hold a corner of each end against what it must be."""
        with saying("the volume cannot be read again"):
            group = zarr.open_group(self._path, mode="r")
            found = [array for _, array in sorted(group.arrays(), key=lambda each: int(each[0]))]
        shapes = [level.shape for level in self._levels]
        require_finished([array.shape for array in found] == shapes, f"its resolutions are not those of {shapes}")
        _, rows, columns = (min(most, side) for most, side in zip(CHUNK, self._grid.shape, strict=True))
        for index, plane in ends.items():
            with saying("the volume cannot be read again"):
                corner = np.asarray(found[0][index, -rows:, -columns:])
            expected = plane[-rows:, -columns:]
            same = corner.dtype == plane.dtype and corner.tobytes() == expected.tobytes()
            require_finished(same, f"section {index} does not come back as it was written")

    def release(self) -> None:
        """Close the temporary files."""
        for level in self._levels:
            level.release()


def _shapes(shape: Shape) -> list[Shape]:
    """Of all resolutions, the finest first."""
    shapes = [shape]
    while any(side > most for side, most in zip(shapes[-1], CHUNK, strict=True)):
        sections, rows, columns = (-(-side // 2) for side in shapes[-1])
        shapes.append((sections, rows, columns))
    return shapes


def _placed(grid: Grid, shape: Shape) -> list[dict[str, Any]]:
    """Size and place of the voxels of a resolution, in nm; in voxels where their size is not known.

    The centre of a voxel that covers several is that of all of them.
    """
    scale, translation = [], []
    for full, side, size, origin in zip(grid.shape, shape, grid.voxel_size_A[::-1], grid.origin_A[::-1], strict=True):
        covered = 1
        while -(-full // covered) > side:
            covered *= 2
        voxel = size / 10 if size else 1.0
        scale.append(covered * voxel)
        translation.append((origin / 10 if size else 0.0) + (covered - 1) / 2 * voxel)
    return [{"type": "scale", "scale": scale}, {"type": "translation", "translation": translation}]


def _halved(plane: Plane) -> Halved:
    """Means of 2 x 2 pixels, of fewer at an end that is odd, as float32, or float64 where integers need it."""
    rows, columns = plane.shape
    precise = plane.astype(np.result_type(plane.dtype, np.float32), copy=False)
    if (rows % 2 and rows > 1) or (columns % 2 and columns > 1):
        precise = np.pad(precise, ((0, rows % 2), (0, columns % 2)), mode="edge")
    size = (-(-columns // 2), -(-rows // 2))
    return np.asarray(cv2.resize(precise, size, interpolation=cv2.INTER_AREA))


@dataclass
class _Slab:
    """Planes that are kept until all of the same chunks are there.

    Attributes:
        spool: Where they are.
        complete: How many are.
        writing: The chunks that are being compressed.
    """

    spool: Spool
    complete: int = 0
    writing: "list[Future[None]]" = field(default_factory=list)


class _Level:
    """A resolution: its planes become chunks.

    Args:
        array: Where the chunks go.
        shape: Of the array.
        directory: For temporary files.
        workers: These compress.
    """

    def __init__(self, array: "zarr.Array[Any]", shape: Shape, directory: Path, workers: Share) -> None:
        self.shape = shape
        self._array = array
        self._directory = directory
        self._workers = workers
        self._slabs: dict[int, _Slab] = {}
        self._full: list[_Slab] = []
        self._lock = threading.Lock()
        self._waiting: dict[int, Halved] = {}
        _, rows, columns = shape
        self._tiles = [
            (slice(row, min(row + CHUNK[1], rows)), slice(column, min(column + CHUNK[2], columns)))
            for row, column in product(range(0, rows, CHUNK[1]), range(0, columns, CHUNK[2]))
        ]

    def _depth(self, number: int) -> int:
        """The planes of a slab."""
        return min(CHUNK[0], self.shape[0] - number * CHUNK[0])

    def keep(self, index: int, plane: Plane) -> None:
        """Keep a plane, from any thread."""
        number, place = divmod(index, CHUNK[0])
        with self._lock:
            if number not in self._slabs:
                self._slabs[number] = _Slab(Spool(self._directory, *_KEPT))
            spool = self._slabs[number].spool
        before = 0
        for tile in self._tiles:
            block = np.ascontiguousarray(plane[tile])
            spool.write(before + place * block.nbytes, block.data.cast("B"))
            before += self._depth(number) * block.nbytes

    def complete(self, index: int) -> None:
        """A plane is kept; when its slab is full, let the threads compress it. In the thread of the file."""
        number = index // CHUNK[0]
        slab = self._slabs[number]
        slab.complete += 1
        if slab.complete < self._depth(number):
            return
        self.finish()  # no more slabs pile up than the threads can compress
        del self._slabs[number]
        self._full.append(slab)
        before = 0
        for rows, columns in self._tiles:
            shape = (self._depth(number), rows.stop - rows.start, columns.stop - columns.start)
            place = (slice(number * CHUNK[0], number * CHUNK[0] + shape[0]), rows, columns)
            work = partial(self._compress, slab.spool, before, shape)
            slab.writing.append(self._workers.start(work, place))
            before += shape[0] * shape[1] * shape[2] * self._array.dtype.itemsize

    def _compress(self, spool: Spool, start: int, shape: Shape, place: tuple[slice, slice, slice]) -> None:
        block: NDArray[Any] = np.empty(shape, self._array.dtype)
        spool.read_into(start, block.data.cast("B"))
        with saying(_NOT_WRITTEN):
            self._array[place] = block

    def mean_of_pair(self, index: int, halved: Halved, finer: int) -> Halved | None:
        """The mean of two neighbouring planes of the finer resolution, when both are there; of the last alone.

        Args:
            index: Of the plane.
            halved: The plane.
            finer: How many planes there are.
        """
        other = index ^ 1
        if self.shape[0] == finer or other == finer:
            return halved
        if other not in self._waiting:
            self._waiting[index] = halved
            return None
        return (halved + self._waiting.pop(other)) * halved.dtype.type(0.5)

    def finish(self) -> None:
        """Wait until what is being compressed is written."""
        while self._full:
            slab = self._full[0]
            for chunk in slab.writing:
                chunk.result()
            slab.spool.close()
            self._full.pop(0)

    def release(self) -> None:
        """Close the temporary files."""
        for slab in (*self._slabs.values(), *self._full):
            slab.spool.close()
