"""HDF5 files with a data set that is a stack of images; h5py (the extra ``hdf5``) says where it lies.

The HDF5 library crashes over files that are damaged, so it runs in a process of its own, see `locate`, and only to say
where which bytes are. These are read here like those of any other format, by several threads at once.
"""

import json
import math
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError, NotWhole
from mrc2movie.readers.hdf5.pieces import FILTERS, OTHER_FILTERS, Blocks, Pieces
from mrc2movie.readers.metadata import in_A
from mrc2movie.readers.plain import Facts, describe_plain, open_plain
from mrc2movie.readers.source import Asked, Source, is_justified
from mrc2movie.readers.volume import Description, Load, Section, Volume, VoxelSize, voxel_size
from mrc2movie.readers.voxels import Coding, Layout, grey_layout, shown_dtype

SUFFIXES = frozenset((".hdf", ".h5", ".hdf5", ".emd", ".hspy"))

_MAGIC = b"\x89HDF\r\n\x1a\n"
_LOCATE = Path(__file__).with_name("locate.py")
_LOCATED_IN_S = 300
_MOST_RATIO = 2**16
_SMALL_BYTES = 64 * 2**20


def recognises(source: Source, head: bytes) -> bool:
    """Whether it is an HDF5 file."""
    return head.startswith(_MAGIC)


@dataclass(frozen=True)
class _Located:
    """What `locate` has found: its answer, and where the pieces are.

    Attributes:
        answer: By names.
        index: (n, 4) place in the grids of pieces, position, bytes, filters left out.
    """

    answer: dict[str, Any]
    index: NDArray[np.uint64]


def open_hdf5(source: Source, head: bytes, asked: Asked) -> Volume:
    """Open an HDF5 file.

    Raises:
        InputError: It has no data set of images, or not the one that was asked for, or h5py is not installed.
    """
    located = _locate(source.path, asked.dataset)
    pieces = _pieces(source, located)
    answer = located.answer
    rows, columns = (pieces.shape[axis] for axis in pieces.axes)
    facts = Facts(
        dialect=answer["dialect"],
        order=">" if pieces.dtype.byteorder == ">" else "<",
        layout=grey_layout(columns, rows, _in_memory(pieces)),
        sections=pieces.data_sets * pieces.images,
        row0_at_bottom=answer["row0_at_bottom"],
        voxel_size_A=_voxel_size(pieces, answer["lengths"]),
        header={"dataset": answer["path"], "data_sets": answer["data_sets"], "shape": list(pieces.shape)},
        told={"voltage_kV": answer["voltage_V"] / 1000} if 1e4 <= answer["voltage_V"] <= 2e6 else {},
        notes=(answer["note"],) if answer["note"] else (),
    )
    _refuse_what_is_not_there(pieces, facts)
    if pieces.dtype.kind in "iufc" and not len(pieces.scales) and (starts := pieces.starts()) is not None:
        return open_plain(source, starts, replace(facts, layout=grey_layout(columns, rows, pieces.dtype)))
    if not answer["chunked"] and not pieces.in_the_open:
        pieces = _in_slabs(pieces)
    return Hdf5Volume(source, pieces, facts.layout, describe_plain(source.path, facts.sections, facts))


class Hdf5Volume(Volume):
    """Images that must be put together out of pieces.

    Args:
        source: The file; closed with the volume.
        pieces: Where they lie.
        layout: Of a section in memory.
        description: What was made of the file.
    """

    def __init__(self, source: Source, pieces: Pieces, layout: Layout, description: Description) -> None:
        self.path = source.path
        self.description = description
        self.scratch_bytes = layout.section_bytes + pieces.room_bytes
        self._source = source
        self._layout = layout
        self._dtype = _in_memory(pieces)
        self._blocks = Blocks(pieces, self._dtype)
        self._centring = (False, False)
        if layout.coding is Coding.COMPLEX:
            self._centring = layout.centring_of(self._stored(0, np.empty(self.scratch_bytes, np.uint8)))

    def expect(self, numbers: Iterable[int], rising: bool) -> None:
        """Any order is as good as another, but images that share pieces are best read one after the other."""

    def section(self, number: int) -> Load:
        """The way to load a section, from any thread."""
        return partial(self._load, number)

    def _load(self, number: int, scratch: NDArray[np.uint8]) -> Section:
        return self._layout.decode(self._stored(number, scratch), self._centring)

    def _stored(self, number: int, scratch: NDArray[np.uint8]) -> NDArray[np.uint8]:
        stored, room = scratch[: self._layout.section_bytes], scratch[self._layout.section_bytes :]
        self._blocks.read(number, stored.view(self._dtype).reshape(self._layout.rows, self._layout.columns), room)
        return stored

    def close(self) -> None:
        """Close the file."""
        self._source.close()


def _locate(path: Path, dataset: str | None) -> _Located:
    if find_spec("h5py") is None:
        raise InputError("is an HDF5 file", "pip install 'mrc2movie[hdf5]' to read it")
    command = [sys.executable, "-P", str(_LOCATE), str(path), *([dataset] if dataset is not None else [])]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LOCATED_IN_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"keeps the HDF5 library busy for more than {_LOCATED_IN_S} s", "is it damaged?") from None
    line, _, index = done.stdout.partition(b"\n")
    if done.returncode or not line:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        if done.returncode > 0 and said:
            raise InputError(f"cannot be read with h5py here ({said[-1][:300]})", "pip install --upgrade h5py")
        raise InputError("makes the HDF5 library crash", "it is damaged: copy it again")
    answer = json.loads(line)
    if "error" in answer:
        raise NotWhole(*answer["error"]) if answer.get("may_grow") else InputError(*answer["error"])
    return _Located(answer, np.frombuffer(index, np.uint64).reshape(-1, 4))


def _pieces(source: Source, located: _Located) -> Pieces:
    answer = located.answer
    unknown = [number for number in answer["filters"] if number not in FILTERS]
    if unknown:
        name = OTHER_FILTERS.get(unknown[0], f"filter {unknown[0]}")
        raise InputError(f"its data set {answer['path']} is compressed with {name}, which is not read", _REPACK)
    index = located.index[np.argsort(located.index[:, 0], kind="stable")]
    places, positions, lengths, masks = (np.ascontiguousarray(index[:, column]) for column in range(4))
    row, column = answer["axes"]
    return Pieces(
        source=source,
        data_sets=answer["data_sets"],
        shape=tuple(answer["shape"]),
        dtype=np.dtype(answer["dtype"]),
        axes=(row, column),
        piece=tuple(answer["pieces"]),
        filters=tuple(answer["filters"]),
        fill=answer["fill"],
        unlike=frozenset(answer["unlike"]),
        scales=np.array(answer["scales"], np.float32),
        places=places,
        positions=positions,
        lengths=lengths,
        masks=masks,
    )


_REPACK = "write it anew with deflate: h5repack -f GZIP=4 OLD NEW"


def _in_memory(pieces: Pieces) -> np.dtype[np.generic]:
    """What voxels become when they are put together."""
    if pieces.dtype.kind == "c":
        return np.dtype(np.complex64 if pieces.dtype.itemsize <= 8 else np.complex128)
    return np.dtype(np.float32) if len(pieces.scales) else shown_dtype(pieces.dtype)


def _voxel_size(pieces: Pieces, lengths: list[tuple[float, str]]) -> VoxelSize | None:
    if not lengths:
        return None
    along = [in_A(abs(length), unit) for length, unit in lengths]
    y, x = (along[axis] for axis in pieces.axes)
    return voxel_size(x, y, along[pieces.counting[-1]] if pieces.counting else x)


def _refuse_what_is_not_there(pieces: Pieces, facts: Facts) -> None:
    """A data set of any size costs nothing as long as nothing was written to it."""
    stored = min(int(pieces.lengths.sum()), pieces.source.size)
    size = facts.layout.section_bytes
    most = max(size, pieces.piece_bytes if pieces.filters else pieces.room_bytes)
    if not is_justified(most, stored):
        raise InputError(
            f"its data set {facts.header['dataset']} says pieces of {most} bytes, which so small a file cannot hold",
            "it is damaged, or made to fill the memory",
        )
    if facts.sections * size > max(_SMALL_BYTES, _MOST_RATIO * stored) or not len(pieces.places):
        raise InputError(
            f"its data set {facts.header['dataset']} says {facts.sections * size} bytes, and {stored} were written",
            "it is damaged, or not yet written",
        )


def _in_slabs(pieces: Pieces) -> Pieces:
    """A contiguous data set as pieces of one step of its first dimension."""
    slab = (1, *pieces.shape[1:])
    size = math.prod(slab) * pieces.dtype.itemsize
    steps = np.arange(pieces.shape[0], dtype=np.uint64)
    return replace(
        pieces,
        piece=slab,
        places=(pieces.places[:, None] * np.uint64(len(steps)) + steps).ravel(),
        positions=(pieces.positions[:, None] + steps * np.uint64(size)).ravel(),
        lengths=np.full(len(pieces.places) * len(steps), size, np.uint64),
        masks=np.zeros(len(pieces.places) * len(steps), np.uint64),
    )
