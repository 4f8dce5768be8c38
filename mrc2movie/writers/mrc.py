"""Volumes as MRC2014 files, and as MRCZ files, in which every section is a chunk of Blosc.

Formats: https://www.ccpem.ac.uk/mrc_format/mrc2014.php,
https://python-mrcz.readthedocs.io/en/latest/specification.html.
"""

import struct
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE
from numpy.typing import NDArray

from mrc2movie.errors import Mrc2movieError, saying
from mrc2movie.readers import open_volume
from mrc2movie.readers.mrc.header import HEADER_BYTES
from mrc2movie.readers.volume import AXES
from mrc2movie.store.spool import PacketSpool, PositionedFile
from mrc2movie.writers.volume import Grid, Plane, VolumeWriter, VoxelStatistics, require_finished

_MODES = {"int8": 0, "int16": 1, "float32": 2, "uint16": 6, "int32": 7, "uint32": 8, "float16": 12}
_MRCZ_ZSTD = 6000
_PACKED_BYTES = "<q", 144
_LABELS, _LABEL_BYTES = 10, 80
_MOST_CHUNK_BYTES = 2**31 - 1 - 32  # Blosc counts the bytes of a chunk in 31 bits, and puts 32 before them

_LET_GO_BYTES, _LET_GO_WITHIN = 2**24, 2**26
"""After so many bytes those within this distance are let go: threads write planes in no strict order."""
_NOT_WRITTEN = "the volume cannot be written"


class MrcWriter(VolumeWriter):
    """An MRC2014 file: the threads write each plane to its place.

    Args:
        path: The file, which must not be there yet.
        grid: What the volume is.

    Raises:
        OutputError: The file cannot be made.
    """

    def __init__(self, path: Path, grid: Grid) -> None:
        self._path = path
        self._grid = grid
        with saying(_NOT_WRITTEN):
            self._file = path.open("xb", buffering=0)
        self._bytes = PositionedFile(self._file.fileno())

    def encode(self, index: int, plane: Plane) -> None:
        """Write the plane to its place."""
        with saying(_NOT_WRITTEN):
            self._bytes.write(start := HEADER_BYTES + index * plane.nbytes, plane.data.cast("B"))
        if index % max(1, _LET_GO_BYTES // plane.nbytes) == 0:
            self._bytes.let_go(start - _LET_GO_WITHIN, 2 * _LET_GO_WITHIN)

    def write(self, index: int, encoded: None) -> None:
        """All is written."""

    def finish(self, statistics: VoxelStatistics) -> None:
        """Write the header."""
        with saying(_NOT_WRITTEN):
            self._bytes.write(0, memoryview(header_of(self._grid, statistics).tobytes()))
        self.release()

    def verify(self, ends: Mapping[int, Plane]) -> None:
        """Hold the header and both ends against what they must be."""
        _verify(self._path, self._grid, ends)

    def release(self) -> None:
        """Close the file."""
        self._file.close()


class MrczWriter(VolumeWriter):
    """An MRCZ file: the threads compress planes, which are written one after the other.

    The chunks are those of Blosc 2, and filtered as the ``mrcz`` package does it, which reads them from version 0.6 on.

    Args:
        path: The file, which must not be there yet.
        grid: What the volume is.
        backward: Whether the last plane comes first: then all are kept until the first one is there.

    Raises:
        OutputError: The file cannot be made.
        Mrc2movieError: A section has more bytes than Blosc can compress at a time.
    """

    def __init__(self, path: Path, grid: Grid, backward: bool) -> None:
        _, rows, columns = grid.shape
        if rows * columns * grid.dtype.itemsize > _MOST_CHUNK_BYTES:
            raise Mrc2movieError(
                f"sections of {columns} x {rows} are too large for MRCZ", "take --volume-format mrc, or a --bin"
            )
        self._path = path
        self._grid = grid
        self._blosc2 = import_module("blosc2")
        self._blosc2.set_releasegil(True)
        with saying(_NOT_WRITTEN):
            self._file = path.open("xb", buffering=0)
        self._bytes = PositionedFile(self._file.fileno())
        self._end = HEADER_BYTES
        self._kept = PacketSpool(path.parent) if backward else None

    def encode(self, index: int, plane: Plane) -> NDArray[np.uint8]:
        """Compress the plane."""
        blosc2 = self._blosc2
        chunk = blosc2.compress2(
            plane,
            codec=blosc2.Codec.ZSTD,
            clevel=1,
            filters=[blosc2.Filter.BITSHUFFLE],
            typesize=plane.itemsize,
            nthreads=1,  # the workers are the threads
        )
        return np.frombuffer(chunk, np.uint8)

    def write(self, index: int, encoded: NDArray[np.uint8]) -> None:
        """Write the chunk behind the others, or keep it for later."""
        if self._kept is not None:
            self._kept.append(encoded)
        else:
            self._append(encoded)

    def _append(self, chunk: NDArray[np.uint8]) -> None:
        with saying(_NOT_WRITTEN):
            self._bytes.write(self._end, chunk.data)
        before, self._end = self._end, self._end + chunk.nbytes
        if before // _LET_GO_BYTES < self._end // _LET_GO_BYTES:
            self._bytes.let_go(self._end - _LET_GO_WITHIN, _LET_GO_WITHIN)

    def finish(self, statistics: VoxelStatistics) -> None:
        """Write what was kept, and the header."""
        if self._kept is not None:
            for position in reversed(range(self._grid.shape[0])):
                self._append(self._kept[position])
        # mrcz leaves the sampling at 0, and divides the cell by the number of voxels; else it reads a list of volumes.
        header = header_of(replace(self._grid, is_volume=True), statistics)
        header["mx"] = header["my"] = header["mz"] = 0
        header["ispg"] = int(self._grid.is_volume)
        header["mode"] += _MRCZ_ZSTD
        raw = bytearray(header.tobytes())
        form, offset = _PACKED_BYTES
        struct.pack_into(form, raw, offset, self._end - HEADER_BYTES)
        with saying(_NOT_WRITTEN):
            self._bytes.write(0, memoryview(raw))
        self.release()

    def verify(self, ends: Mapping[int, Plane]) -> None:
        """Hold the header and both ends against what they must be."""
        _verify(self._path, self._grid, ends)

    def release(self) -> None:
        """Close the files."""
        self._file.close()
        if self._kept is not None:
            self._kept.close()


def header_of(grid: Grid, statistics: VoxelStatistics) -> NDArray[np.void]:
    """The 1024 bytes before the voxels, a record of mrcfile's type.

    The sampling and the cell go by the directions x, y and z, the size by columns, rows and sections. Statistics are
    those of the finite voxels; without any they are marked as not known.
    """
    header: NDArray[np.void] = np.zeros((), HEADER_DTYPE)
    sections, rows, columns = grid.shape
    header["nx"], header["ny"], header["nz"] = columns, rows, sections
    header["mode"] = _MODES[grid.dtype.name]
    for axis, count, size, origin in zip(
        grid.axes, (columns, rows, sections), grid.voxel_size_A, grid.origin_A, strict=True
    ):
        steps = 1 if axis == grid.axes[2] and not grid.is_volume else count  # images have no depth together
        header[f"m{axis}"] = steps
        header["cella"][axis] = (size or 0.0) * steps
        header["origin"][axis] = origin
    header["cellb"] = (90, 90, 90)
    header["mapc"], header["mapr"], header["maps"] = (AXES.index(axis) + 1 for axis in grid.axes)
    if statistics.count:
        header["dmin"], header["dmax"] = statistics.minimum, statistics.maximum
        header["dmean"], header["rms"] = statistics.mean, statistics.deviation
    else:
        header["dmin"], header["dmax"], header["dmean"], header["rms"] = 0, -1, -2, -1
    header["ispg"] = int(grid.is_volume)
    header["nversion"] = 20141
    header["map"] = b"MAP "
    header["machst"] = (0x44, 0x44, 0, 0) if sys.byteorder == "little" else (0x11, 0x11, 0, 0)
    labels = _labels(grid.history)
    header["nlabl"] = len(labels)
    header["label"][: len(labels)] = labels
    return header


def _labels(history: Sequence[str]) -> list[bytes]:
    plain = (line.replace("µ", "u").encode("ascii", "replace").decode() for line in history)
    return [part.encode() for line in plain for part in textwrap.wrap(line, _LABEL_BYTES)][:_LABELS]


def _verify(path: Path, grid: Grid, ends: Mapping[int, Plane]) -> None:
    with open_volume(path) as volume:
        found = volume.description
        require_finished(
            (found.shape, found.dtype) == (grid.shape, grid.dtype),
            f"it holds {found.shape} voxels of {found.dtype}, not {grid.shape} of {grid.dtype}",
        )
        scratch: NDArray[Any] = np.empty(volume.scratch_bytes, np.uint8)
        for index, plane in ends.items():
            section = volume.section(index)(scratch)
            same = np.array_equal(section.view(np.uint8), plane.view(np.uint8))
            require_finished(same, f"section {index} does not come back as it was written")
