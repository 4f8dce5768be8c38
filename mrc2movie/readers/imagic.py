"""IMAGIC stacks: a file of headers, ``.hed``, and beside it one of nothing but pixels, ``.img``.

Format: https://www.imagescience.de/formats.html. The origin is the upper left corner.
"""

import struct
from pathlib import Path

import numpy as np

from mrc2movie.errors import InputError
from mrc2movie.readers.plain import Facts, open_plain, whole_sections
from mrc2movie.readers.source import Asked, InputFile, Source, closed_on_error
from mrc2movie.readers.volume import Volume
from mrc2movie.readers.voxels import ByteOrder, grey_layout

SUFFIXES = frozenset((".hed",))
"""A pair is taken by its headers: many other things are called ``.img``."""

_PIXELS = ".img"
_HEADER_BYTES = 1024
_TYPES = {b"REAL": "f4", b"INTG": "i2", b"PACK": "u1", b"COMP": "c8"}
_MACHINES = {b"\2\2\2\2": "<", b"\4\4\4\4": ">"}
_VAX = (b"\1\0\0\0", b"\0\0\0\1")
_LONGEST = 2**20


def recognises(source: Source, head: bytes) -> bool:
    """Whether it is either of the two files of a stack."""
    return _order(head) is not None or _headers_of(source) is not None


def _order(head: bytes) -> ByteOrder | None:
    """The byte order of a header; None where it is none."""
    if len(head) < _HEADER_BYTES or head[56:60] not in _TYPES:
        return None
    orders: tuple[ByteOrder, ...] = ("<", ">")
    for order in orders:
        number, _, _, headers = struct.unpack_from(order + "4i", head)
        rows, columns = struct.unpack_from(order + "2i", head, 48)
        if 1 in (number, headers) and 0 < rows <= _LONGEST and 0 < columns <= _LONGEST:
            return order
    return None


def _headers_of(source: Source) -> Path | None:
    """Where the headers of a file of pixels are; None where there are none."""
    if source.path.suffix.lower() != _PIXELS or source.container:
        return None
    for name in _beside(source.path, ".hed"):
        try:
            file = InputFile(name)
        except InputError:
            continue
        with file:
            if _order(file.read(0, _HEADER_BYTES)):
                return name
    return None


def _beside(path: Path, suffix: str) -> tuple[Path, ...]:
    return path.with_suffix(suffix), path.with_suffix(suffix.upper())


def other_file(path: Path) -> Path | None:
    """The other of the two files of a stack; None where there is none of such a name."""
    other = {".hed": _PIXELS, _PIXELS: ".hed"}.get(path.suffix.lower())
    return next((each for each in _beside(path, other) if each.exists()), None) if other else None


def open_imagic(source: Source, head: bytes, asked: Asked) -> Volume:
    """Open a stack by either of its files.

    Raises:
        InputError: The other file is not there, or it holds no whole section.
    """
    order = _order(head)
    if order is None:
        headers = _headers_of(source)
        assert headers is not None
        with InputFile(headers) as file:
            head = file.read(0, _HEADER_BYTES)
        order = _order(head)
        if order is None:
            raise InputError(f"its headers {headers.name} have changed", "convert it again")
        return _open(source, head, order)
    pixels = next((path for path in _beside(source.path, _PIXELS) if path.exists()), None)
    if pixels is None:
        name = source.path.with_suffix(_PIXELS).name
        raise InputError(f"is an IMAGIC header without its images: {name} is not there", "copy it beside this file")
    images = InputFile(pixels)
    with closed_on_error(images):
        volume = _open(images, head, order)
    source.close()
    return volume


def _open(pixels: Source, head: bytes, order: ByteOrder) -> Volume:
    (following,) = struct.unpack_from(order + "i", head, 4)
    rows, columns = struct.unpack_from(order + "2i", head, 48)
    (planes,) = struct.unpack_from(order + "i", head, 240)
    machine = head[272:276]
    dtype = np.dtype(_TYPES[head[56:60]])
    if machine in _VAX and dtype.kind in "fc":
        raise InputError("is an IMAGIC stack with the floats of a VAX, which are not read", "convert it in IMAGIC")
    order = "<" if _MACHINES.get(machine, order) == "<" else ">"
    layout = grey_layout(columns, rows, dtype.newbyteorder(order))
    count = max(0, following) + 1
    facts = Facts(
        dialect="IMAGIC",
        order=order,
        layout=layout,
        sections=count,
        row0_at_bottom=False,
        voxel_size_A=None,
        header={"type": head[56:60].decode("ascii"), "planes": planes},
        kind="volume" if 1 < planes <= count else "image stack",
    )
    return open_plain(pixels, whole_sections(pixels, 0, layout, count), facts)
