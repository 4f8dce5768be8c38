"""SER files of TIA (Emispec): series of images with their calibrations.

Format: Chris Boothroyd's description (http://www.er-c.org/cbb/info/TIAformat/). Row 0 is the bottom, as the readers of
HyperSpy and openNCEM have it.
"""

import struct
from array import array
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError, NotWhole
from mrc2movie.readers.metadata import in_A
from mrc2movie.readers.plain import Facts, PlainVolume, open_plain
from mrc2movie.readers.source import Asked, Source
from mrc2movie.readers.volume import Load, Section, Volume, voxel_size
from mrc2movie.readers.voxels import grey_layout

SUFFIXES = frozenset((".ser",))

_MAGIC = b"II\x97\x01"
_WITH_LONG_POSITIONS = 0x220
_IMAGES = 0x4122
_TYPES = {1: "u1", 2: "u2", 3: "u4", 4: "i1", 5: "i2", 6: "i4", 7: "f4", 8: "f8", 9: "c8", 10: "c16"}
_IMAGE_HEADER = "<2di2dihii"
_IMAGE_HEADER_BYTES = struct.calcsize(_IMAGE_HEADER)
_FORM_AT = 40
_LONGEST = 2**20


def recognises(source: Source, head: bytes) -> bool:
    """Whether it is a SER file."""
    return head.startswith(_MAGIC)


class SerVolume(PlainVolume):
    """The images of a series, each behind a header of its own that must be like the first one's."""

    def section(self, number: int) -> Load:
        """The way to load an image, from any thread."""
        return partial(self._checked, number, super().section(number))

    def _checked(self, number: int, load: Load, scratch: NDArray[np.uint8]) -> Section:
        first, this = (
            self._source.read(self._starts[each] - _IMAGE_HEADER_BYTES, _IMAGE_HEADER_BYTES)[_FORM_AT:]
            for each in (0, number)
        )
        if this != first:
            raise InputError(
                f"section {number} is of another size or type than the first one",
                f"leave it out with --discard-range {number} {number + 1}",
            )
        return load(scratch)


def open_ser(source: Source, head: bytes, asked: Asked) -> Volume:
    """Open a SER file.

    Raises:
        InputError: It holds spectra, or no whole image.
    """
    if len(head) < 34:
        raise NotWhole(f"is a SER file of {len(head)} bytes, which has no whole header", "copy it again")
    version, kind, _, total, valid = struct.unpack_from("<H4I", head, 4)
    if kind != _IMAGES:
        raise InputError("is a SER file of spectra, not of images")
    long = version >= _WITH_LONG_POSITIONS
    (table,) = struct.unpack_from("<Q" if long else "<I", head, 22)
    count = min(total, valid)
    each = 8 if long else 4
    if not 0 < count <= (source.size - table) // each:
        raise NotWhole(f"its header says {count} images, whose places are not there", "copy it again")
    positions = np.frombuffer(source.read(table, count * each), f"<u{each}")
    image = source.read(int(positions[0]), _IMAGE_HEADER_BYTES)
    if len(image) < _IMAGE_HEADER_BYTES:
        raise NotWhole("its first image is not there", "copy it again, or wait until it is written")
    _, delta_x, _, _, delta_y, _, form, columns, rows = struct.unpack(_IMAGE_HEADER, image)
    if form not in _TYPES or not (0 < columns <= _LONGEST and 0 < rows <= _LONGEST):
        raise InputError(f"its header says images of {columns} x {rows}, type {form}", "it is damaged: copy it again")
    layout = grey_layout(columns, rows, np.dtype(_TYPES[form]).newbyteorder("<"))
    largest = source.size - layout.section_bytes - _IMAGE_HEADER_BYTES
    whole = np.flatnonzero(positions > max(largest, 0))
    there = int(whole[0]) if len(whole) else count
    if largest < 0 or not there:
        raise NotWhole(
            f"its header says {count} images of {columns} x {rows}, but not one is whole",
            "copy it again, or wait until it is written",
        )
    starts = array("Q", (positions[:there].astype(np.uint64) + np.uint64(_IMAGE_HEADER_BYTES)).tobytes())
    facts = Facts(
        dialect="SER (TIA)",
        order="<",
        layout=layout,
        sections=count,
        row0_at_bottom=True,
        voxel_size_A=voxel_size(in_A(abs(delta_x), "m"), in_A(abs(delta_y), "m")),
        header={"version": version, "planned": total},
        notes=(f"{count} of {total} images were taken",) if count < total else (),
    )
    return open_plain(source, starts, facts, SerVolume)
