"""MRC files byte by byte, as programs write them and as they should not."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrc2movie.readers import open_volume
from mrc2movie.readers.volume import Description, Section, SizeLearned, Volume

DTYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 7: "i4", 8: "u4", 12: "f2", 17: "i1"}

# Offset and format of the fields, by their names in the specification.
FIELDS = {
    "nx": (0, "i"),
    "ny": (4, "i"),
    "nz": (8, "i"),
    "mode": (12, "i"),
    "mx": (28, "i"),
    "my": (32, "i"),
    "mz": (36, "i"),
    "cella": (40, "3f"),
    "mapcrs": (64, "3i"),
    "stats": (76, "3f"),
    "ispg": (88, "i"),
    "nsymbt": (92, "i"),
    "exttyp": (104, "4s"),
    "nversion": (108, "i"),
    "nint": (128, "h"),
    "nreal": (130, "h"),
    "imod_stamp": (152, "i"),
    "imod_flags": (156, "i"),
    "map": (208, "4s"),
    "machst": (212, "4s"),
    "nlabl": (220, "i"),
    "label": (224, "80s"),
}
IMOD_STAMP = 1146047817


def header(nx: int, ny: int, nz: int, mode: int, order: str = "<", /, **fields: Any) -> bytes:
    """A sound MRC2014 header in which the given fields are as they are given."""
    values: dict[str, Any] = {
        "mx": nx,
        "my": ny,
        "mz": nz,
        "cella": (2.0 * nx, 3.0 * ny, 4.0 * nz),
        "mapcrs": (1, 2, 3),
        "stats": (0.0, -1.0, -2.0),  # not computed
        "nversion": 20141,
        "map": b"MAP ",
        "machst": b"\x44\x44\0\0" if order == "<" else b"\x11\x11\0\0",
        "nx": nx,
        "ny": ny,
        "nz": nz,
        "mode": mode,
        **fields,
    }
    raw = bytearray(1024)
    for name, value in values.items():
        offset, form = FIELDS[name]
        struct.pack_into(order + form, raw, offset, *(value if isinstance(value, tuple) else (value,)))
    return bytes(raw)


def stored(voxels: NDArray[Any], mode: int, order: str = "<") -> bytes:
    """The bytes of (z, y, x) voxels in a mode of one number a voxel."""
    return voxels.astype(np.dtype(order + DTYPES[mode])).tobytes()


def mrc(voxels: NDArray[Any], mode: int, order: str = "<", /, **fields: Any) -> bytes:
    """A whole file of (z, y, x) voxels; the field `extended` is the extended header."""
    extended: bytes = fields.pop("extended", b"")
    nz, ny, nx = voxels.shape
    head = header(nx, ny, nz, mode, order, **{"nsymbt": len(extended), **fields})
    return head + extended + stored(voxels, mode, order)


def write(path: Path, data: bytes) -> Path:
    """Write a file; returns its path."""
    path.write_bytes(data)
    return path


def sections_of(volume: Volume) -> NDArray[Any]:
    """All sections of a volume in file order, (z, y, x)."""
    while True:
        numbers = range(volume.description.shape[0])
        try:
            return np.stack([section_of(volume, number) for number in numbers])
        except SizeLearned:
            continue


def section_of(volume: Volume, number: int) -> Section:
    """One section, copied out of its scratch."""
    return volume.section(number)(np.empty(volume.scratch_bytes, np.uint8)).copy()


def read(path: Path) -> NDArray[Any]:
    """All sections of a file, (z, y, x)."""
    with open_volume(path) as volume:
        return sections_of(volume)


def described(path: Path) -> Description:
    """What the reader knows of a file when it has opened it."""
    with open_volume(path) as volume:
        return volume.description
