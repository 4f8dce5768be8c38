"""Images out of the pieces of an HDF5 data set: chunks, or the slabs of a contiguous one.

Filters: https://support.hdfgroup.org/documentation/hdf5/latest/_l_b_com_dset.html; deflate, shuffle and Fletcher32.
"""

import math
import zlib
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError
from mrc2movie.readers.source import Source

_DEFLATE, _SHUFFLE, _CHECKSUM = 1, 2, 3
_CHECKSUM_BYTES = 4
FILTERS = {_DEFLATE: "deflate", _SHUFFLE: "shuffle", _CHECKSUM: "checksum"}
"""Those that are undone here, by their numbers."""

OTHER_FILTERS = {
    **{4: "SZIP", 5: "N-bit", 6: "scale-offset", 32000: "LZF", 32001: "Blosc", 32004: "LZ4", 32008: "bitshuffle"},
    **{32015: "Zstandard", 32026: "Blosc 2"},
}

_BLOCK_BYTES = 128 * 2**20
_BLOCKS = 2


class Damaged(Exception):
    """A piece cannot be read; the text says why."""


@dataclass(frozen=True)
class Pieces:
    """How the images of data sets, all alike, lie in their pieces.

    Attributes:
        source: The file.
        data_sets: How many there are.
        shape: Of each data set.
        dtype: Of its numbers, as they are stored.
        axes: Which dimensions are the (rows, columns) of an image; the others count images.
        piece: The shape of a piece.
        filters: That pieces went through, in this order.
        fill: What numbers are that were never written.
        unlike: The data sets that are not like the first one, by their places.
        scales: (data sets, 2) float32: by what the numbers of each are multiplied, and what is added then; empty where
            they are what they are.
        places: In the grids of pieces of all data sets, rising: those that are stored.
        positions: Where they are in the file.
        lengths: Their bytes.
        masks: A bit for each filter that they did not go through.
    """

    source: Source
    data_sets: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    axes: tuple[int, int]
    piece: tuple[int, ...]
    filters: tuple[int, ...]
    fill: float
    unlike: frozenset[int]
    scales: NDArray[np.float32] = field(repr=False)
    places: NDArray[np.uint64] = field(repr=False)
    positions: NDArray[np.uint64] = field(repr=False)
    lengths: NDArray[np.uint64] = field(repr=False)
    masks: NDArray[np.uint64] = field(repr=False)

    @cached_property
    def counting(self) -> Sequence[int]:
        """The dimensions that count the images of a data set, the slowest first.

        Programs that write columns before rows also write all other dimensions the other way round.
        """
        counting = [axis for axis in range(len(self.shape)) if axis not in self.axes]
        return counting[::-1] if self.axes[0] > self.axes[1] else counting

    @cached_property
    def grid(self) -> Sequence[int]:
        """How many pieces there are along each dimension."""
        return [-(-size // piece) for size, piece in zip(self.shape, self.piece, strict=True)]

    @cached_property
    def images(self) -> int:
        """Of a data set."""
        return math.prod(self.shape[axis] for axis in self.counting)

    @property
    def piece_bytes(self) -> int:
        """Of a piece, unpacked."""
        return math.prod(self.piece) * self.dtype.itemsize

    @cached_property
    def in_the_open(self) -> bool:
        """Whether what a piece has of an image can be read without the rest of the piece."""
        in_a_row = self.axes == (len(self.shape) - 2, len(self.shape) - 1)
        return not self.filters and (in_a_row or all(self.piece[axis] == 1 for axis in self.counting))

    @property
    def deep(self) -> int:
        """How many images that follow each other are best read together, since they share their pieces."""
        return self.piece[self.counting[-1]] if self.counting and not self.in_the_open else 1

    @cached_property
    def room_bytes(self) -> int:
        """The most that is read at once."""
        if self.in_the_open:
            return math.prod(self.piece[axis] for axis in self.axes) * self.dtype.itemsize
        return min(int(self.lengths.max(initial=0)), self.source.size)

    def starts(self) -> "array[int] | None":
        """Where each image starts if all lie in the open, each in one piece; None where they do not."""
        rows, columns = self.axes
        image_bytes = self.shape[rows] * self.shape[columns] * self.dtype.itemsize
        if (
            not self.in_the_open
            or rows > columns
            or any(self.piece[axis] != self.shape[axis] for axis in self.axes)
            or len(self.places) != self.data_sets * math.prod(self.grid)
            or self.lengths.min() < self.piece_bytes
            or self.data_sets * self.images * image_bytes > self.source.size
        ):
            return None
        number = np.arange(self.images)
        where, within, grid, piece = np.zeros_like(number), np.zeros_like(number), 1, 1
        for axis in reversed(self.counting):
            number, at = np.divmod(number, self.shape[axis])
            where += at // self.piece[axis] * grid
            within += at % self.piece[axis] * piece
            grid, piece = grid * self.grid[axis], piece * self.piece[axis]
        within_bytes = (within * image_bytes).astype(np.uint64)
        positions = self.positions.reshape(self.data_sets, -1)[:, where] + within_bytes
        return array("Q", positions.tobytes()) if positions.max() <= self.source.size - image_bytes else None

    def fill_block(self, first: int, block: NDArray[np.generic], room: NDArray[np.uint8]) -> None:
        """Put images together.

        Args:
            first: The number of the first, in all data sets.
            block: (images, rows, columns), native; all its images differ in their place in the last dimension that
                counts only.
            room: At least `room_bytes`, for what is read.

        Raises:
            Damaged: A piece cannot be unpacked, or is no longer there.
        """
        data_set, within = divmod(first, self.images)
        if data_set in self.unlike:
            raise Damaged("it is of another size or type than the first one")
        start = [0] * len(self.shape)
        for axis in reversed(self.counting):
            within, start[axis] = divmod(within, self.shape[axis])
        end = [at + 1 for at in start]
        for axis in self.axes:
            end[axis] = self.shape[axis]
        if self.counting:
            end[self.counting[-1]] = start[self.counting[-1]] + len(block)
        spans = [range(at // each, (to - 1) // each + 1) for at, to, each in zip(start, end, self.piece, strict=True)]
        order = [*self.counting, *self.axes]
        with np.errstate(over="ignore", invalid="ignore"):  # a float64 beyond float32 becomes infinite
            for where in product(*spans):
                number = data_set
                for at, across in zip(where, self.grid, strict=True):
                    number = number * across + at
                inside, outside = zip(*self._overlap(where, start, end), strict=True)
                images = outside[self.counting[-1]] if self.counting else slice(0, 1)
                target = block[(images, *(outside[axis] for axis in self.axes))]
                entry = self._entry(number)
                if entry is None:
                    target[...] = np.asarray(self.fill).astype(target.dtype)
                elif self.in_the_open:
                    self._read_image(entry, inside, target[0], room)
                else:  # along all dimensions that count, but the last, there is one image
                    part = self._piece(entry, room)[inside].transpose(order).reshape(target.shape)
                    np.copyto(target, part, casting="unsafe")
        if len(self.scales):
            factor, offset = self.scales[data_set]
            np.multiply(block, factor, out=block)
            np.add(block, offset, out=block)

    def _overlap(self, where: Sequence[int], start: Sequence[int], end: Sequence[int]) -> Iterator[tuple[slice, slice]]:
        """Along each dimension: what of a piece is wanted, and where it goes."""
        for at, low, high, each in zip(where, start, end, self.piece, strict=True):
            begin, stop = max(low, at * each), min(high, (at + 1) * each)
            yield slice(begin - at * each, stop - at * each), slice(begin - low, stop - low)

    def _entry(self, number: int) -> int | None:
        """Where a piece is in the index, by its place in the grids; None where it was never written."""
        entry = int(np.searchsorted(self.places, np.uint64(number)))
        return entry if entry < len(self.places) and int(self.places[entry]) == number else None

    def _read_image(
        self, entry: int, inside: tuple[slice, ...], target: NDArray[np.generic], room: NDArray[np.uint8]
    ) -> None:
        """What a piece has of one image, without the rest of it."""
        before = 0
        for axis in self.counting:
            before = before * self.piece[axis] + inside[axis].start
        size = self.room_bytes
        if (before + 1) * size > int(self.lengths[entry]):
            raise Damaged("a piece of it is too short")
        self._read(int(self.positions[entry]) + before * size, room[:size])
        first, second = sorted(self.axes)
        part = room[:size].view(self.dtype).reshape(self.piece[first], self.piece[second])
        part = part[inside[first], inside[second]]
        np.copyto(target, part if self.axes[0] == first else part.T, casting="unsafe")

    def _piece(self, entry: int, room: NDArray[np.uint8]) -> NDArray[np.generic]:
        """A whole piece."""
        stored = room[: int(self.lengths[entry])]
        if len(stored) < int(self.lengths[entry]):
            raise Damaged("a piece of it is longer than the file")
        self._read(int(self.positions[entry]), stored)
        data = self._unfiltered(stored.data, int(self.masks[entry]))
        if len(data) < self.piece_bytes:
            raise Damaged("a piece of it is too short")
        return np.frombuffer(data, self.dtype, math.prod(self.piece)).reshape(self.piece)

    def _read(self, position: int, data: NDArray[np.uint8]) -> None:
        if position > self.source.size or self.source.at(position, data.size)(data.data) < data.size:
            raise Damaged("a piece of it is no longer there")

    def _unfiltered(self, data: bytes | memoryview, mask: int) -> bytes | memoryview:
        most = self.piece_bytes + _CHECKSUM_BYTES
        for place in reversed(range(len(self.filters))):
            if mask >> place & 1:
                continue
            kind = self.filters[place]
            if kind == _CHECKSUM:
                data, stored = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
                if _checksum(data) != [half % 65535 for half in np.frombuffer(stored, "<u2").tolist()]:
                    raise Damaged("its checksum is wrong")
            elif kind == _SHUFFLE:
                whole = len(data) // self.dtype.itemsize * self.dtype.itemsize
                planes = np.frombuffer(data, np.uint8, whole).reshape(self.dtype.itemsize, -1)
                data = planes.T.tobytes() + bytes(data[whole:])
            else:
                try:
                    data = zlib.decompressobj().decompress(data, most)
                except zlib.error as error:
                    raise Damaged(f"its deflate data are damaged ({error})") from error
        return data


def _checksum(data: bytes | memoryview) -> list[int]:
    """Fletcher's sums of 16-bit big-endian words, each modulo 65535; an odd last byte is the high one of a word."""
    words = np.frombuffer(bytes(data) + bytes(len(data) % 2), ">u2").astype(np.uint64)
    weights = np.arange(len(words), 0, -1, dtype=np.uint64) % 65535
    return [int(words.sum()) % 65535, int((words * weights).sum()) % 65535]


class Blocks:
    """Images that share pieces, put together once and kept as long as they are wanted.

    Args:
        pieces: Where the images lie.
        dtype: Of the images in memory.
    """

    def __init__(self, pieces: Pieces, dtype: np.dtype[np.generic]) -> None:
        self._pieces = pieces
        self._dtype = dtype
        self._shape = pieces.shape[pieces.axes[0]], pieces.shape[pieces.axes[1]]
        fitting = _BLOCK_BYTES // (math.prod(self._shape) * dtype.itemsize)
        self._deep = max(1, min(pieces.deep, fitting))
        self._kept: OrderedDict[int, NDArray[np.generic]] = OrderedDict()
        self._lock = Lock()

    def read(self, number: int, image: NDArray[np.generic], room: NDArray[np.uint8]) -> None:
        """Fill in an image, in any thread; the room is that of `Pieces.fill_block`.

        Raises:
            InputError: It cannot be read.
        """
        try:
            if self._deep == 1:
                self._pieces.fill_block(number, image[None], room)
            else:
                image[...] = self._shared(number, room)
        except Damaged as error:
            raise InputError(
                f"section {number} cannot be read: {error}",
                f"copy it again, or leave the section out with --discard-range {number} {number + 1}",
            ) from error

    def _shared(self, number: int, room: NDArray[np.uint8]) -> NDArray[np.generic]:
        """An image of a block: which one by the last dimension that counts."""
        along = self._pieces.shape[self._pieces.counting[-1]]
        before, at = divmod(number, along)
        first = before * along + at // self._deep * self._deep
        with self._lock:
            block = self._kept.pop(first, None)
            if block is None:
                count = min(self._deep, (before + 1) * along - first)
                block = np.empty((count, *self._shape), self._dtype)
                self._pieces.fill_block(first, block, room)
            self._kept[first] = block
            if len(self._kept) > _BLOCKS:
                self._kept.popitem(last=False)
        image: NDArray[np.generic] = block[number - first]
        return image
