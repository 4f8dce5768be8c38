"""The planes of a volume along x or y, as sections of another volume.

A plane along x has a voxel of every row of the file. So the file is read once, in its own order, and the planes that
are wanted are written whole into a temporary file without a name, from which they are read in any order, as often as
they are wanted. That serves compressed files as well.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError
from mrc2movie.readers.volume import Description, Load, Section, Volume, VoxelSize
from mrc2movie.store.spool import Spool
from mrc2movie.workers import Share

T = TypeVar("T")

_SPOOLED = "the planes along another axis", "show fewer planes (--every, --only)"
_PIECE_BYTES = 16 * 1024
_GROUP_BYTES = 32 * 2**20
"""Sections are turned in groups, so that pieces of planes of a size that suits a disk are written; each worker holds
one group and its turned copy."""


def along(
    volume: Volume,
    axis: Literal["z", "y", "x"],
    workers: Share,
    directory: Path | None,
    progress: Callable[[int, int, int], object] = lambda done, total, section_bytes: None,
) -> AbstractContextManager[Volume]:
    """The volume whose sections follow each other along an axis: along z it is the volume itself; see below."""
    return nullcontext(volume) if axis == "z" else ReslicedVolume(volume, axis, workers, directory, progress)


class ReslicedVolume(Volume):
    """The planes of a volume along another axis; in their pictures z goes up.

    Along y a plane is (z, x), as in the XZ view of 3dmod; along x it is (z, y).

    Args:
        volume: The volume; the caller closes it, after this one.
        axis: Along which the planes follow each other.
        workers: What the file uses of the threads of the run.
        directory: Where the temporary file goes; the system's directory where None.
        progress: Called after each section with the number of sections turned, that of all, and the bytes of each.
    """

    def __init__(
        self,
        volume: Volume,
        axis: Literal["x", "y"],
        workers: Share,
        directory: Path | None,
        progress: Callable[[int, int, int], object],
    ) -> None:
        self.path = volume.path
        self._volume = volume
        self._axis = axis
        self._workers = workers
        self._directory = directory
        self._progress = progress
        self._spool: Spool | None = None
        self._planes = array("q")
        self._describe()

    def _describe(self) -> None:
        self.description = _turned(self._volume.description, self._axis)
        self.scratch_bytes = int(np.prod(self.description.section_shape)) * self.description.dtype.itemsize

    def expect(self, numbers: Iterable[int], rising: bool) -> None:
        """Turn these planes out of the volume, so that they can be read.

        Raises:
            SizeLearned: A compressed stream is shorter than its header says.
            InputError: The volume cannot be read.
            OutputError: There is no room for the temporary file.
        """
        self.close()
        wanted = np.unique(np.fromiter(numbers, np.int64))
        self._planes = array("q", wanted.tobytes())
        source = self._volume.description
        rows, columns = source.shape[1:]
        row_bytes = self.scratch_bytes // source.shape[0]
        group = max(1, min(-(-_PIECE_BYTES // row_bytes), _GROUP_BYTES // (rows * columns * source.dtype.itemsize)))
        self._spool = spool = Spool(self._directory, *_SPOOLED)

        def make_worker() -> Callable[[Sequence[tuple[int, Load]]], int]:
            scratch = np.empty(self._volume.scratch_bytes, np.uint8)
            turned = np.empty((len(wanted), group, *self.description.section_shape[1:]), source.dtype)

            def work(sections: Sequence[tuple[int, Load]]) -> int:
                for place, (_, load) in enumerate(sections):
                    _turn(load(scratch), self._axis, wanted, turned[:, place])
                first = sections[0][0]
                for place, plane in enumerate(turned):
                    spool.write(place * self.scratch_bytes + first * row_bytes, plane[: len(sections)].data.cast("B"))
                return len(sections)

            return work

        try:
            self._volume.expect(range(source.shape[0]), rising=True)
            loads = ((number, self._volume.section(number)) for number in range(source.shape[0]))
            groups = iter(lambda: tuple(islice(loads, group)), ())
            counts = self._workers.map(make_worker, groups)
            for done, _ in enumerate(chain.from_iterable(map(range, counts)), start=1):
                self._progress(done, source.shape[0], self._volume.scratch_bytes)
        finally:
            self._describe()  # the end of a compressed stream tells more of it

    def section(self, number: int) -> Load:
        """The way to load a plane, in any order and from any thread."""
        return partial(self._load, bisect_left(self._planes, number))

    def _load(self, place: int, scratch: NDArray[np.uint8]) -> Section:
        assert self._spool is not None
        stored = scratch[: self.scratch_bytes]
        if self._spool.read_into(place * self.scratch_bytes, stored.data) < stored.size:
            raise InputError("a plane is missing in the temporary file", "convert it again")
        return stored.view(self.description.dtype).reshape(self.description.section_shape)

    def close(self) -> None:
        """Drop the planes."""
        if self._spool is not None:
            self._spool.close()
            self._spool = None


def _turned(description: Description, axis: Literal["x", "y"]) -> Description:
    sections, rows, columns = description.shape
    return replace(
        description,
        shape=(rows, sections, columns) if axis == "y" else (columns, sections, rows),
        voxel_size_A=_turned_size(description.voxel_size_A, axis),
        axes=_turned_three(description.axes, axis),
        origin_A=_turned_three(description.origin_A, axis),
        row0_at_bottom=True,
        channels=1,
        images=None,
        classes=None,
        section_name=None,
        scan=None,
        tilts=None,
        times=None,
        other_tilts=(),
    )


def _turned_size(size: VoxelSize | None, axis: Literal["x", "y"]) -> VoxelSize | None:
    if size is None:
        return None
    x, y, z = size
    return None if z is None else _turned_three((x, y, z), axis)


def _turned_three(three: tuple[T, T, T], axis: Literal["x", "y"]) -> tuple[T, T, T]:
    """What belongs to (columns, rows, sections) of the planes, from what belongs to those of the volume."""
    x, y, z = three
    return (x, z, y) if axis == "y" else (y, z, x)


def _turn(section: Section, axis: Literal["x", "y"], wanted: NDArray[np.int64], turned: Section) -> None:
    """Write a section's part of each wanted plane: (planes, columns of a plane)."""
    if axis == "x" and section.ndim == 2 and len(wanted) == section.shape[1] and np.all(np.diff(wanted) == 1):
        # OpenCV turns in blocks that suit the cache, several times as fast; of the type it needs to know the size only.
        same_size = {1: np.uint8, 2: np.uint16, 4: np.int32, 8: np.float64}[section.itemsize]
        cv2.transpose(section.view(same_size), turned.view(same_size))
    else:
        turned[...] = section.swapaxes(0, 1)[wanted] if axis == "x" else section[wanted]
