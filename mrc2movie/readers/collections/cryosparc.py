"""cryoSPARC's ``.cs`` files, and job folders whose stacks are numbered.

Format: a NumPy array of records (https://tools.cryosparc.com/api/cryosparc.dataset.html). Images count from 0, and
a ``>`` before a path means that the file belongs to the project.
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mrc2movie.errors import InputError
from mrc2movie.readers.collections.collection import Collection
from mrc2movie.readers.source import Source

_PIECE_BYTES = 2**22
_MOST_HEADER_BYTES = 2**16
_PATH, _INDEX = "blob/path", "blob/idx"
_PASSTHROUGH = re.compile(r"(?:.*_)?J\d+_passthrough_particles\.cs")
_JOB = re.compile(r"J\d+")
_BATCHES = {
    "restack": re.compile(r"batch_(\d{1,9})_restacked\.mrc"),
    "downsample": re.compile(r"batch_(\d{1,9})_downsample\.mrc"),
}
"""The folders of numbered stacks, the most wanted first; versions differ in how many digits they write."""

_FIELDS: Mapping[str, Sequence[tuple[str, float]]] = {
    "pixel_size_A": (("blob/psize_A", 1.0),),
    "defocus_u_A": (("ctf/df1_A", 1.0),),
    "defocus_v_A": (("ctf/df2_A", 1.0),),
    "defocus_angle_degrees": (("ctf/df_angle_rad", 180 / np.pi),),
    "phase_shift_degrees": (("ctf/phase_shift_rad", 180 / np.pi),),
    "voltage_kV": (("ctf/accel_kv", 1.0),),
    "cs_mm": (("ctf/cs_mm", 1.0),),
    "amplitude_contrast": (("ctf/amp_contrast", 1.0),),
    "class_number": (("alignments2D/class", 1.0), ("alignments3D/class", 1.0)),
}
"""Ours, of theirs the first that is there, and the factor to our unit."""


def is_cs(path: Path, head: bytes) -> bool:
    """Whether a file that begins so is a ``.cs`` file, which a NumPy array of another name is not."""
    return head.startswith(npy.MAGIC_PREFIX) and ".cs" in [suffix.lower() for suffix in path.suffixes]


def cs_of_job(directory: Path) -> Path | None:
    """The file that stands for a job folder with numbered stacks; None for any other directory."""
    if not _JOB.fullmatch(directory.absolute().name) or not any(_batches(directory)):
        return None
    return next((path for path in sorted(directory.glob("*.cs")) if _PASSTHROUGH.fullmatch(path.name)), None)


def read_cs(source: Source, count_of: Callable[[Path], int], *, names_alone: bool = False) -> Collection:
    """Read which images a ``.cs`` file names, or which numbered stacks lie beside it.

    Args:
        source: The file.
        count_of: Tells how many images a file has.
        names_alone: Whether the numbers of the images are not wanted.

    Raises:
        InputError: It names none, or is damaged.
    """
    dtype, rows, offset = _head(source)
    batches = list(_batches(source.path.parent)) if _PASSTHROUGH.fullmatch(source.path.name) else []
    if not batches and not (_is_text(dtype, _PATH) and _is_number(dtype, _INDEX, "iu")):
        what = f"names no images: it has no {_PATH} and {_INDEX}"
        raise InputError(what, "name the .cs file of the job that wrote them")
    wanted = {} if names_alone else _wanted(dtype)
    files: dict[bytes | str, int] = {}
    file_of, index = np.empty(rows, np.int32), np.empty(rows, np.int64)
    numbers = {ours: np.empty(rows) for ours in wanted}
    for at, records in _records(source, dtype, rows, offset):
        here = slice(at, at + len(records))
        if not batches:
            file_of[here] = [files.setdefault(path, len(files)) for path in records[_PATH].tolist()]
            index[here] = records[_INDEX]
        for ours, (name, factor) in wanted.items():
            numbers[ours][here] = _times(records[name], factor)
    if batches:
        return _of_batches(source.path, batches, numbers, count_of)
    if not rows:
        raise InputError("has no rows", "was anything selected?")
    are_averages = "class_averages" in source.path.name
    if are_averages:
        numbers["class_number"] = index.astype(np.float64)
    return Collection(
        path=source.path,
        storage="cryoSPARC .cs file",
        kind="particle stack",
        names=[_text(name).removeprefix(">") for name in files],
        file_of=file_of,
        index=index,
        rows=np.arange(1, rows + 1),
        numbers=numbers,
        are_averages=are_averages,
        counted_from=0,
    )


def read_column(source: Source, ours: str) -> NDArray[np.float64]:
    """(rows,) float64, one of `NUMBERS`; empty where a ``.cs`` file does not tell it.

    Raises:
        InputError: It is damaged.
    """
    dtype, rows, offset = _head(source)
    if ours not in (wanted := _wanted(dtype)):
        return np.empty(0)
    name, factor = wanted[ours]
    values = [_times(records[name], factor) for _, records in _records(source, dtype, rows, offset)]
    return np.concatenate(values) if values else np.empty(0)


def _times(values: NDArray[Any], factor: float) -> NDArray[np.float64]:
    """In double precision, so that nothing is rounded on the way from radians to degrees and back."""
    with np.errstate(all="ignore"):  # a damaged file has any numbers
        product: NDArray[np.float64] = values.astype(np.float64) * factor
    return product


def _wanted(dtype: np.dtype[np.void]) -> Mapping[str, tuple[str, float]]:
    """What a file tells of `_FIELDS`: its field, and the factor, by our name."""
    return {
        ours: each
        for ours, fields in _FIELDS.items()
        if (each := next((each for each in fields if _is_number(dtype, each[0])), None))
    }


def _text(name: bytes | str) -> str:
    return name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")


def _is_text(dtype: np.dtype[np.void], name: str) -> bool:
    return name in (dtype.names or ()) and dtype[name].kind in "SU"


def _is_number(dtype: np.dtype[np.void], name: str, kinds: str = "iuf") -> bool:
    return name in (dtype.names or ()) and dtype[name].kind in kinds  # not an array in each record


def _head(source: Source) -> tuple[np.dtype[np.void], int, int]:
    """The type of the records, how many there are, and where they begin.

    Raises:
        InputError: They are not records, or not whole, or cannot be read without running code that is in the file.
    """
    start = len(npy.MAGIC_PREFIX) + 2
    magic = source.read(0, start + 4)
    length_bytes = 2 if magic[start - 2 : start - 1] == b"\1" else 4
    length = int.from_bytes(magic[start : start + length_bytes], "little")
    offset = start + length_bytes + length
    if not length <= _MOST_HEADER_BYTES or len(magic) < start + length_bytes:
        raise InputError("begins like a NumPy array, and is none", "copy it again")
    try:
        head = ast.literal_eval(source.read(start + length_bytes, length).decode("utf-8").strip())
        dtype, (rows,) = npy.descr_to_dtype(head["descr"]), head["shape"]
    except (ValueError, TypeError, KeyError, SyntaxError, MemoryError, RecursionError) as error:
        raise InputError("begins like a NumPy array, and is none", "copy it again") from error
    if dtype.names is None or not isinstance(rows, int) or rows < 0:
        raise InputError("is a NumPy array without named fields", "is it cryoSPARC's?")
    if dtype.hasobject:
        raise InputError("holds Python objects, which are never loaded", "is it cryoSPARC's?")
    if not 0 < dtype.itemsize <= _PIECE_BYTES or offset + rows * dtype.itemsize > source.size:
        raise InputError(f"is cut short: its {rows} rows are not all there", "copy it again")
    return dtype, rows, offset


def _records(
    source: Source, dtype: np.dtype[np.void], rows: int, offset: int
) -> Iterator[tuple[int, NDArray[np.void]]]:
    """The records in pieces, each with the number of its first row."""
    step = max(1, _PIECE_BYTES // dtype.itemsize)
    for at in range(0, rows, step):
        piece = source.read(offset + at * dtype.itemsize, min(step, rows - at) * dtype.itemsize)
        if len(piece) < min(step, rows - at) * dtype.itemsize:
            raise InputError("became shorter while it was read", "convert it again when nothing writes to it")
        yield at, np.frombuffer(piece, dtype)


def _batches(directory: Path) -> Iterator[Path]:
    """The numbered stacks of a job folder, from 0 until the first gap: those restacked, else those made smaller."""
    for folder, named in _BATCHES.items():
        files = sorted((directory / folder).glob("batch_*.mrc"))
        numbered = {int(found[1]): file for file in files if (found := named.fullmatch(file.name)) and file.is_file()}
        if 0 in numbered:
            yield from (numbered[number] for number in takewhile(numbered.__contains__, count()))
            return


def _of_batches(
    path: Path, batches: Sequence[Path], numbers: Mapping[str, NDArray[np.float64]], count_of: Callable[[Path], int]
) -> Collection:
    counts = [count_of(batch) for batch in batches]
    images, rows = sum(counts), max(map(len, numbers.values()), default=0)
    warnings: tuple[str, ...] = ()
    if numbers and rows < images:
        warnings = (f"its {rows} rows do not tell of all the {images} images beside it, so none of them is used",)
        numbers = {}
    return Collection(
        path=path,
        storage=f"cryoSPARC job folder, {batches[0].parent.name}",
        kind="particle stack",
        names=[f"{batch.parent.name}/{batch.name}" for batch in batches],
        file_of=np.repeat(np.arange(len(counts), dtype=np.int32), counts),
        index=np.concatenate([np.arange(each, dtype=np.int64) for each in counts]),
        rows=np.arange(1, images + 1),
        numbers={name: values[:images] for name, values in numbers.items()},
        warnings=warnings,
    )
