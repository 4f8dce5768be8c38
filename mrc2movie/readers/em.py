"""EM files of the TOM toolbox: a header of 512 bytes, and the voxels.

Format: the help of TOM's ``tom_emread`` (https://github.com/dtegunov/tom/blob/master/IOfun/tom_emread.m). It has no
magic number: that its fields agree with the size of the file shows what it is. Programs that turn EM files into MRC
files (EMAN2, PyTom, TOM) leave the order of the rows, so that row 0 is the bottom here as there.
"""

import math
import struct
from dataclasses import dataclass

import numpy as np

from mrc2movie.errors import InputError
from mrc2movie.readers.metadata import TILT, in_A, printable_text
from mrc2movie.readers.plain import Facts, open_plain, whole_sections
from mrc2movie.readers.source import Asked, Source
from mrc2movie.readers.volume import Volume, voxel_size
from mrc2movie.readers.voxels import ByteOrder, Layout, Sign, grey_layout

SUFFIXES = frozenset((".em",))

_HEADER_BYTES = 512
_MACHINES = {0: "OS-9", 1: "VAX", 2: "Convex", 3: "SGI", 4: "Sun", 5: "Mac", 6: "PC"}
_BIG_ENDIAN = ("OS-9", "SGI", "Sun", "Mac")
_TYPES = {1: "u1", 2: "i2", 4: "i4", 5: "f4", 8: "c8", 9: "f8", 10: "c16"}
_LONGEST = 2**20
_MOTIVE_VALUES = 20

# Of the 40 parameters: name, which one, factor to the unit, and the least and the most that makes sense.
_PARAMETERS = (
    ("voltage_kV", 0, 1e-3, 20, 1250),
    ("magnification", 3, 1, 1, 1e8),
    ("exposure_s", 5, 1e-3, 1e-4, 1e4),
    ("defocus_um", 10, -1e-4, -100, 100),
    (TILT, 18, 1e-3, -90, 90),
)
_PIXEL_SIZE = 6


@dataclass(frozen=True)
class _Header:
    """What stands in front.

    Attributes:
        order: The byte order.
        machine: That wrote it.
        size: Columns, rows, sections.
        dtype: Of the voxels, without byte order.
    """

    order: ByteOrder
    machine: str
    size: tuple[int, int, int]
    dtype: np.dtype[np.generic]

    @property
    def file_bytes(self) -> int:
        """What the whole file must have."""
        return _HEADER_BYTES + math.prod(self.size) * self.dtype.itemsize


def recognises(source: Source, head: bytes) -> bool:
    """Whether it is an EM file: one whose size is exactly right, or one that is named so and is not whole."""
    return _header(source, head) is not None


def _header(source: Source, head: bytes) -> _Header | None:
    if len(head) < _HEADER_BYTES or head[0] not in _MACHINES or head[3] not in _TYPES:
        return None
    machine = _MACHINES[head[0]]
    orders: tuple[ByteOrder, ...] = (">", "<") if machine in _BIG_ENDIAN else ("<", ">")
    headers = [
        _Header(order, machine, struct.unpack_from(order + "3i", head, 4), np.dtype(_TYPES[head[3]]))
        for order in orders
    ]
    sane = [header for header in headers if all(0 < size <= _LONGEST for size in header.size)]
    fitting = [header for header in sane if source.size_is_known and header.file_bytes == source.size]
    if not fitting and source.path.suffix.lower() in SUFFIXES and not source.container:
        fitting = sane
    return fitting[0] if fitting else None


def open_em(source: Source, head: bytes, asked: Asked) -> Volume:
    """Open an EM file.

    Raises:
        InputError: It is a list, or holds no whole section.
    """
    header = _header(source, head)
    assert header is not None
    columns, rows, sections = header.size
    if sections == 1 and columns == _MOTIVE_VALUES and header.dtype.kind == "f":
        what = f"is a motive list of {rows} particles (EM), which is no picture"
        raise InputError(what, "convert the tomogram that it belongs to")
    if rows == sections == 1 or columns == 1:
        raise InputError(f"is an EM file with a list of {math.prod(header.size)} numbers, which is no picture")
    layout = _layout(header, asked.mode0)
    starts = whole_sections(source, _HEADER_BYTES, layout, sections)
    parameters = struct.unpack_from(header.order + "40i", head, 96)
    told = {
        name: value
        for name, number, factor, least, most in _PARAMETERS
        if parameters[number] and least <= (value := parameters[number] * factor) <= most
    }
    pixel = in_A(parameters[_PIXEL_SIZE] / 1000, "Å")
    facts = Facts(
        dialect=f"EM ({header.machine})",
        order=header.order,
        layout=layout,
        sections=sections,
        row0_at_bottom=True,
        voxel_size_A=voxel_size(pixel, pixel, pixel),
        header={"comment": printable_text(head[16:96])},
        told=told,
        kind="volume",
    )
    return open_plain(source, starts, facts)


def _layout(header: _Header, sign: Sign) -> Layout:
    columns, rows, _ = header.size
    dtype = np.dtype("i1") if header.dtype == np.uint8 and sign == "signed" else header.dtype
    return grey_layout(columns, rows, dtype.newbyteorder(header.order))
