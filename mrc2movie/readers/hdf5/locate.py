"""Where the images of an HDF5 file lie: a program of its own, since the HDF5 library crashes over damaged files.

    python locate.py FILE [DATASET]

writes a line of JSON, ``{"error": ...}`` or what `_Stack` and `_layout` say, and then for every piece that is stored
four numbers of 64 bits: its place in the grid of pieces, its position in the file, its bytes, and which filters it has
not gone through. A contiguous data set is one piece. Everything else is done by the reader, with positioned reads.

Conventions: EMAN2 (https://blake.bcm.edu/emanwiki/Eman2HDF), EMD of Berkeley (https://emdatasets.com/format/), Velox as
RosettaSciIO reads it, HyperSpy (https://hyperspy.org/rosettasciio/file_specification/hdf5.html). Only what is in the
file itself is looked at: links to other files, and data that are kept in them, are passed over.
"""

import json
import math
import sys
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any, TypeAlias

import h5py
import numpy as np

# h5py has no types.
Group: TypeAlias = Any
Dataset: TypeAlias = Any
Length: TypeAlias = tuple[float, str]

_MOST_OBJECTS = 100_000
_METADATA_BYTES = 2**20
_CHUNK_BYTES = 2**26
_NAMED = 5
_AS_STORED = 1.0, 0.0
_NUMBERS = {"b": 1, "i": 8, "u": 8, "f": 8, "c": 16}
"""Kinds of numbers, and their most bytes."""


class Refused(Exception):
    """Nothing in the file can be shown; the arguments are why, and what helps."""


@dataclass(frozen=True)
class _Stack:
    """A data set of images, or several like it that follow each other.

    Attributes:
        dialect: Whose convention it is.
        path: Of the first data set.
        shape: Of each data set.
        dtype: Of its numbers, as NumPy writes it.
        axes: Which dimensions are the (rows, columns) of an image; the others count images.
        numbers: Of EMAN2's data sets; empty for a single one.
        row0_at_bottom: Whether row 0 is the bottom of the picture.
        lengths: Of a voxel along each dimension, with units; the number is 0 where it is not known.
        voltage_V: Of the beam; 0 where it is not known.
        conventional: Whether a convention says that it has images.
    """

    dialect: str
    path: str
    shape: tuple[int, ...]
    dtype: str
    axes: tuple[int, int]
    numbers: "array[int]" = field(default_factory=lambda: array("Q"))
    row0_at_bottom: bool = False
    lengths: tuple[Length, ...] = ()
    voltage_V: float = 0.0
    conventional: bool = True

    @property
    def bytes(self) -> int:
        """Of all images."""
        return max(1, len(self.numbers)) * math.prod(self.shape) * np.dtype(self.dtype).itemsize


def main(arguments: Sequence[str]) -> None:
    """Look at one file."""
    path, *asked = arguments
    index = array("Q")
    try:
        with h5py.File(path, "r", locking=False) as file:
            answer = _answer(file, asked[0] if asked else None, index)
    except Refused as error:
        answer = {"error": error.args}
    except Exception as error:  # h5py raises anything
        why = " ".join(str(error).split())[:300] or type(error).__name__
        advice = "copy it again, or wait until it is written"
        answer = {"error": (f"cannot be read: the HDF5 library says {why!r}", advice), "may_grow": True}
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
    index.tofile(sys.stdout.buffer)


def _answer(file: Group, asked: str | None, index: "array[int]") -> dict[str, object]:
    stacks = [*_eman2(file), *_velox(file)] or list(_others(file))
    stacks = [stack for stack in stacks if stack.conventional] or stacks
    names = [stack.path for stack in stacks]
    if asked is not None:
        wanted = asked.strip("/")
        stacks = [each for each in stacks if f"{each.path}/".startswith(f"{wanted}/")] or _at(file, wanted)
        if not stacks:
            raise Refused(f"has no images in a data set {asked!r}{_listed(names)}", "give another --dataset")
    if not stacks:
        raise Refused("is an HDF5 file without a data set that could be images", "name one with --dataset PATH")
    stack = max(stacks, key=lambda stack: stack.bytes)
    note = f"{stack.path} is shown{_listed(names)}; --dataset PATH chooses another" if len(stacks) > 1 else ""
    facts = {name: value for name, value in asdict(stack).items() if name != "numbers"}
    return {**facts, **_layout(file, stack, index), "data_sets": max(1, len(stack.numbers)), "note": note}


def _listed(names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f": it has {', '.join(names[:_NAMED])}{more}"


def _layout(file: Group, stack: _Stack, index: "array[int]") -> dict[str, object]:
    """How the data set is stored; all its pieces go into the index."""
    dataset = file[stack.path]
    filters = _filters(dataset)
    pieces = dataset.chunks or dataset.shape
    grid = [-(-size // piece) for size, piece in zip(dataset.shape, pieces, strict=True)]
    count = math.prod(grid)
    group = file["MDF/images"] if stack.numbers else file
    paths = [f"{number}/image" for number in stack.numbers] or [stack.path]
    unlike = []
    for place, path in enumerate(paths):
        each = _hard(group, path)
        if (
            not isinstance(each, h5py.Dataset)
            or (each.shape, each.dtype, each.chunks) != (dataset.shape, dataset.dtype, dataset.chunks)
            or (place and _filters(each) != filters)
        ):
            unlike.append(place)
        elif each.chunks is None:
            if each.id.get_offset() is not None:  # else it was never written
                index.extend((place, each.id.get_offset(), each.id.get_storage_size(), 0))
        else:
            _list_chunks(each, grid, place * count, index)
    fill = dataset.fillvalue
    scaled = stack.numbers and _scale(group, paths[0]) != _AS_STORED
    return {
        "pieces": [int(size) for size in pieces],
        "chunked": dataset.chunks is not None,
        "filters": filters,
        "unlike": unlike,
        "scales": [_scale(group, path) for path in paths] if scaled else [],
        "fill": float(np.real(fill)) if np.ndim(fill) == 0 else 0.0,
    }


def _scale(images: Group, path: str) -> tuple[float, float]:
    """By what the numbers of an image of EMAN2 are multiplied, and what is added: it keeps floats in a few bits.

    Format: ``Renderer`` and ``hdfio2.cpp`` of EMAN2 (https://github.com/cryoem/eman2).
    """
    entry = _hard(images, path.rpartition("/")[0])
    attributes = entry.attrs if isinstance(entry, h5py.Group) else {}
    bits, least, most = (
        _number(attributes, f"EMAN.stored_{name}") for name in ("renderbits", "rendermin", "rendermax")
    )
    if not 1 <= bits <= 32 or most == least:
        return _AS_STORED
    return (most - least) / (2 ** int(bits) - 1), least


def _list_chunks(dataset: Dataset, grid: Sequence[int], before: int, index: "array[int]") -> None:
    def note(chunk: Any) -> None:
        place = 0
        for at, size, across in zip(chunk.chunk_offset, dataset.chunks, grid, strict=True):
            place = place * across + at // size
        index.extend((before + place, chunk.byte_offset, chunk.size, chunk.filter_mask))

    dataset.id.chunk_iter(note)


def _filters(dataset: Dataset) -> list[int]:
    """The numbers of the filters, in the order in which they were applied."""
    filters = dataset.id.get_create_plist()
    return [int(filters.get_filter(place)[0]) for place in range(filters.get_nfilters())]


def _hard(group: Group, path: str) -> Any:
    """What is at a path; None where nothing is, or a link on the way is soft or leads to another file."""
    for name in filter(None, path.split("/")):
        if not isinstance(group, h5py.Group) or not isinstance(group.get(name, getlink=True), h5py.HardLink):
            return None
        group = group.get(name)
    return group


def _has_images(dataset: Any) -> bool:
    """Whether it could be a stack of images, of numbers that are stored in a usual form."""
    return (
        isinstance(dataset, h5py.Dataset)
        and dataset.ndim >= 2
        and min(dataset.shape) > 0
        and dataset.dtype.itemsize <= _NUMBERS.get(dataset.dtype.kind, 0)
        and not dataset.is_virtual
        and not dataset.external
        and dataset.id.get_type().equal(h5py.h5t.py_create(dataset.dtype, logical=True))
    )


def _as_it_is(dataset: Dataset) -> _Stack:
    axes = dataset.ndim - 2, dataset.ndim - 1
    path, shape = dataset.name.strip("/"), tuple(int(size) for size in dataset.shape)
    return _Stack("HDF5", path, shape, dataset.dtype.str, axes, conventional=False)


def _at(file: Group, path: str) -> list[_Stack]:
    """The data set at a path, whatever the conventions say."""
    dataset = _hard(file, path)
    return [_as_it_is(dataset)] if _has_images(dataset) else []


def _eman2(file: Group) -> Iterator[_Stack]:
    """An image or a volume a number, each in a data set; row 0 is the bottom, as in EMAN2's display."""
    images = _hard(file, "MDF/images")
    names = images if isinstance(images, h5py.Group) else ()
    numbers = array("Q", sorted(int(name) for name in names if name.isdecimal() and len(name) < 19))
    first = _hard(images, f"{numbers[0]}/image") if numbers else None
    if first is not None and _has_images(first):
        length = _number(images[str(numbers[0])].attrs, "EMAN.apix_x"), "Å"
        yield replace(
            _as_it_is(first),
            dialect="EMAN2 (HDF5)",
            numbers=numbers,
            row0_at_bottom=True,
            lengths=(length,) * first.ndim,
            conventional=True,
        )


def _velox(file: Group) -> Iterator[_Stack]:
    """Images of (y, x, n), and what is known of each as JSON, a column an image."""
    images = _hard(file, "Data/Image")
    for name in islice(images, _MOST_OBJECTS) if isinstance(images, h5py.Group) else ():
        data, metadata = (_hard(images, f"{name}/{each}") for each in ("Data", "Metadata"))
        if _has_images(data) and data.ndim == 3:
            told = _json(metadata)
            unit = str(_in(told, "BinaryResult", "PixelUnitX") or "m")
            length = _float(_in(told, "BinaryResult", "PixelSize", "width")), unit
            yield replace(
                _as_it_is(data),
                dialect="Velox (EMD)",
                axes=(0, 1),
                lengths=(length, length, (0.0, "")),
                voltage_V=_float(_in(told, "Optics", "AccelerationVoltage")),
                conventional=True,
            )


def _json(metadata: Any) -> object:
    """What Velox says of the first image."""
    if (
        not isinstance(metadata, h5py.Dataset)
        or metadata.ndim != 2
        or metadata.dtype != np.uint8
        or not 0 < metadata.shape[0] <= _METADATA_BYTES
        or metadata.shape[1] < 1
        or not _is_cheap(metadata)
    ):
        return {}
    try:
        return json.loads(metadata[:, 0].tobytes().rstrip(b"\0"))
    except (ValueError, RecursionError):
        return {}


def _is_cheap(dataset: Dataset) -> bool:
    """Whether a few of its numbers can be read without much memory: the library unpacks whole chunks."""
    chunk_bytes = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
    return chunk_bytes <= _CHUNK_BYTES and not dataset.is_virtual and not dataset.external


def _in(document: object, *names: str) -> object:
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _others(file: Group) -> Iterator[_Stack]:
    """Every data set that may have images: those of Berkeley and of HyperSpy by their convention."""
    for parent, dataset in _datasets(file):
        if not _has_images(dataset):
            continue
        if "emd_group_type" in parent.attrs:
            yield _berkeley(parent, dataset)
        elif isinstance(_hard(parent, "axis-0"), h5py.Group):
            axes = [_hard(parent, f"axis-{number}") for number in range(dataset.ndim)]
            if all(isinstance(axis, h5py.Group) for axis in axes) and _shows_images(axes):
                lengths = tuple((_number(axis.attrs, "scale"), _text(axis.attrs, "units")) for axis in axes)
                yield replace(_as_it_is(dataset), dialect="HyperSpy (HDF5)", lengths=lengths, conventional=True)
        elif min(dataset.shape[-2:]) > 1:
            yield _as_it_is(dataset)


def _datasets(file: Group) -> Iterator[tuple[Group, Dataset]]:
    """All data sets, each once, with their groups."""
    groups, seen, looked_at = deque([file]), {h5py.h5o.get_info(file.id).addr}, 0
    while groups:
        group = groups.popleft()
        for name in group:
            looked_at += 1
            if looked_at > _MOST_OBJECTS:
                return
            inner = _hard(group, name)
            if not isinstance(inner, (h5py.Group, h5py.Dataset)):
                continue
            address = h5py.h5o.get_info(inner.id).addr
            if address not in seen:
                seen.add(address)
                if isinstance(inner, h5py.Group):
                    groups.append(inner)
                else:
                    yield group, inner


def _berkeley(group: Group, dataset: Dataset) -> _Stack:
    """The dimensions have names, by which programs that begin with the fastest are known from the others."""
    first = 0 if isinstance(_hard(group, "dim0"), h5py.Dataset) else 1  # from version 1.0 on, and before
    stack = replace(_as_it_is(dataset), dialect="Berkeley (EMD)", conventional=True)
    names, lengths = [], []
    for number in range(dataset.ndim):
        positions = _hard(group, f"dim{number + first}")
        known = (
            isinstance(positions, h5py.Dataset)
            and positions.ndim == 1
            and positions.dtype.kind in "iuf"
            and _is_cheap(positions)
        )
        names.append(_text(positions.attrs, "name").lower() if known else "")
        few = positions[:2].astype(np.float64).tolist() if known else []
        unit = _text(positions.attrs, "units").strip("[]").replace("_", "") if known else ""
        lengths.append((_float(few[1] - few[0]), unit) if len(few) == 2 else (0.0, ""))
    axes = (names.index("y"), names.index("x")) if names.count("x") == names.count("y") == 1 else stack.axes
    return replace(stack, axes=axes, lengths=tuple(lengths))


def _shows_images(axes: Sequence[Group]) -> bool:
    """Whether the signal has two dimensions, which are the last."""
    navigate = [bool(_number(axis.attrs, "navigate")) for axis in axes]
    return navigate == [True] * (len(axes) - 2) + [False] * 2


def _number(attributes: Any, name: str) -> float:
    """The value of an attribute as a number; 0 where it is none."""
    with suppress(Exception):  # h5py raises anything for types that it does not know
        return _float(np.asarray(attributes[name]).ravel()[0])
    return 0.0


def _text(attributes: Any, name: str) -> str:
    """The value of an attribute as a text; empty where it is none."""
    with suppress(Exception):
        value = attributes[name]
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return ""


def _float(value: Any) -> float:
    try:
        number = float(value)
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return number if math.isfinite(number) else 0.0


if __name__ == "__main__":
    main(sys.argv[1:])
