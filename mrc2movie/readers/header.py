"""The 1024 bytes of an MRC header, which are not to be trusted: bytes in, a sane `Header` or a reason out.

Format: MRC2014 (https://www.ccpem.ac.uk/mrc_format/mrc2014.php) and IMOD's extensions
(https://bio3d.colorado.edu/imod/doc/mrc_format.txt).
"""

import math
import struct
from dataclasses import dataclass
from typing import Literal

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE

HEADER_BYTES = 1024
_IMOD_STAMP = 1146047817
_IMOD_SIGNED_BYTES = 1
_MRC2014 = 20140

ByteOrder = Literal["<", ">"]


class HeaderError(Exception):
    """No sane MRC header; the text says why."""


@dataclass(frozen=True)
class Mode:
    """How the voxels of a mode are stored.

    Attributes:
        dtype: As stored, without byte order.
        name: In words.
    """

    dtype: str
    name: str


MODES = {
    0: Mode("i1", "8-bit integer"),
    1: Mode("i2", "16-bit signed integer"),
    2: Mode("f4", "32-bit float"),
    4: Mode("c8", "complex 32-bit float"),
    6: Mode("u2", "16-bit unsigned integer"),
    12: Mode("f2", "16-bit float"),
}


@dataclass(frozen=True)
class Header:
    """A header whose sizes are sane; see MRC2014 for the fields.

    Attributes:
        byte_order: Of the whole file.
        nx: Columns.
        ny: Rows.
        nz: Sections, as the header says.
        mode: A key of `MODES`.
        dtype: Of the stored voxels, in the file's byte order.
        dtype_note: Why 8-bit data are read as signed or unsigned; empty for other modes.
        data_offset: Where the voxels start, in bytes.
        voxel_size_A: (x, y, z) in Å, or None where cell or sampling make no sense.
        exttyp: Kind of the extended header.
        nversion: Version of the format.
        imod: Whether IMOD's stamp is there.
        axes: mapc, mapr, maps.
        labels: The text labels, printable.
    """

    byte_order: ByteOrder
    nx: int
    ny: int
    nz: int
    mode: int
    dtype: np.dtype[np.generic]
    dtype_note: str
    data_offset: int
    voxel_size_A: tuple[float, float, float] | None
    exttyp: str
    nversion: int
    imod: bool
    axes: tuple[int, int, int]
    labels: tuple[str, ...]

    @property
    def section_bytes(self) -> int:
        """Bytes of one section in the file."""
        return self.nx * self.ny * self.dtype.itemsize

    @property
    def row0_is_top(self) -> bool:
        """Whether the writer put the top row first: Thermo Fisher's files of exactly format version 20140 do."""
        return self.exttyp in ("FEI1", "FEI2") and not self.imod and self.nversion == _MRC2014


@dataclass(frozen=True)
class _Raw:
    """The fields in one byte order, as plain Python numbers: no overflow in what is computed from them."""

    byte_order: ByteOrder
    size: tuple[int, int, int]
    mode: int
    sampling: tuple[int, int, int]
    cell: tuple[float, float, float]
    axes: tuple[int, int, int]
    dmin: float
    dmax: float
    nsymbt: int
    exttyp: str
    nversion: int
    imod_flags: int | None
    machst: bytes
    labels: tuple[str, ...]

    @property
    def pixel_bytes(self) -> int:
        return math.prod(self.size) * np.dtype(MODES[self.mode].dtype).itemsize

    def plausibility(self, file_size: int) -> tuple[bool, ...]:
        """What speaks for this byte order, the strongest first; the machine stamp only breaks ties."""
        sane = min(self.size) > 0 and self.mode in MODES
        filled = sane and HEADER_BYTES + max(0, self.nsymbt) + self.pixel_bytes <= file_size
        stamp = b"\x44" if self.byte_order == "<" else b"\x11"
        return sane, filled, sorted(self.axes) == [1, 2, 3], self.machst.startswith(stamp)


def _unpack(raw: bytes, byte_order: ByteOrder) -> _Raw:
    fields = np.frombuffer(raw, HEADER_DTYPE.newbyteorder(byte_order), count=1)[0]
    stamp, flags = struct.unpack_from(byte_order + "2i", raw, 152)
    cell = fields["cella"]
    return _Raw(
        byte_order=byte_order,
        size=(int(fields["nx"]), int(fields["ny"]), int(fields["nz"])),
        mode=int(fields["mode"]),
        sampling=(int(fields["mx"]), int(fields["my"]), int(fields["mz"])),
        cell=(float(cell["x"]), float(cell["y"]), float(cell["z"])),
        axes=(int(fields["mapc"]), int(fields["mapr"]), int(fields["maps"])),
        dmin=float(fields["dmin"]),
        dmax=float(fields["dmax"]),
        nsymbt=int(fields["nsymbt"]),
        exttyp=_text(bytes(fields["exttyp"])),
        nversion=int(fields["nversion"]),
        imod_flags=flags if stamp == _IMOD_STAMP else None,
        machst=bytes(fields["machst"]),
        labels=tuple(
            text for label in fields["label"][: max(0, int(fields["nlabl"]))] if (text := _text(bytes(label)))
        ),
    )


def parse_header(raw: bytes, file_size: int) -> Header:
    """Make sense of the first 1024 bytes.

    Args:
        raw: The bytes.
        file_size: Bytes of the whole file: nothing is believed that needs more.

    Raises:
        HeaderError: They are no header of a file that can be shown.
    """
    if len(raw) < HEADER_BYTES:
        raise HeaderError(f"has {len(raw)} bytes, fewer than the {HEADER_BYTES} of an MRC header")
    little, big = _unpack(raw, "<"), _unpack(raw, ">")
    found = big if big.plausibility(file_size) > little.plausibility(file_size) else little
    for name, count in zip(("nx", "ny", "nz"), found.size, strict=True):
        if count <= 0:
            raise HeaderError(f"its header says {name} = {count}")
    if found.mode not in MODES:
        raise HeaderError(f"its header says mode {found.mode}, which is none that is known")
    dtype, dtype_note = np.dtype(MODES[found.mode].dtype), ""
    if found.mode == 0:
        signed, dtype_note = _mode0_is_signed(found)
        dtype = np.dtype(np.int8 if signed else np.uint8)
    nx, ny, nz = found.size
    return Header(
        byte_order=found.byte_order,
        nx=nx,
        ny=ny,
        nz=nz,
        mode=found.mode,
        dtype=dtype.newbyteorder(found.byte_order),
        dtype_note=dtype_note,
        data_offset=_data_offset(found, file_size),
        voxel_size_A=_voxel_size(found),
        exttyp=found.exttyp,
        nversion=found.nversion,
        imod=found.imod_flags is not None,
        axes=found.axes,
        labels=found.labels,
    )


def _data_offset(found: _Raw, file_size: int) -> int:
    """Where the voxels start: after the extended header, unless it is claimed but absent."""
    claimed = HEADER_BYTES + found.nsymbt
    if found.nsymbt != 0 and HEADER_BYTES + found.pixel_bytes == file_size:
        return HEADER_BYTES
    if not HEADER_BYTES <= claimed <= file_size:
        raise HeaderError(f"its header claims an extended header of {found.nsymbt} bytes, which is not there")
    return claimed


def _mode0_is_signed(found: _Raw) -> tuple[bool, str]:
    """IMOD's rule, and where its statistics do not tell, the version of the format."""
    if found.imod_flags is not None:
        signed = bool(found.imod_flags & _IMOD_SIGNED_BYTES)
        return signed, f"{'signed' if signed else 'unsigned'} by IMOD's flag"
    dmin, dmax = found.dmin, found.dmax
    if dmin < 0 and dmax < 128:
        return True, "signed by the header's minimum below 0"
    if dmin >= 0 and 128 <= dmax < math.inf:
        return False, "unsigned by the header's maximum above 127"
    if dmin < 0 and 128 <= dmax < math.inf:
        signed = -dmin > dmax - 128
        return signed, f"{'signed' if signed else 'unsigned'} by the header's minimum and maximum"
    signed = found.nversion >= _MRC2014
    return signed, f"{'signed' if signed else 'unsigned'} by the header's version {found.nversion}"


def _voxel_size(found: _Raw) -> tuple[float, float, float] | None:
    x, y, z = (
        length / steps if steps > 0 and math.isfinite(length) else 0.0
        for length, steps in zip(found.cell, found.sampling, strict=True)
    )
    return (x, y, z) if min(x, y, z) > 0 else None


def _text(raw: bytes) -> str:
    text = raw.split(b"\0")[0].decode("latin-1").strip()
    return "".join(character if character.isprintable() else "?" for character in text)
