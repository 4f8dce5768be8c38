"""The 1024 bytes of an MRC header, which are not to be trusted: bytes in, a sane `Header` or a reason out.

Format: MRC2014 (https://www.ccpem.ac.uk/mrc_format/mrc2014.php), IMOD's extensions
(https://bio3d.colorado.edu/imod/doc/mrc_format.txt) and MRCZ
(https://python-mrcz.readthedocs.io/en/latest/specification.html).
"""

import math
import re
import struct
from dataclasses import dataclass

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE

from mrc2movie.readers.metadata import printable_text
from mrc2movie.readers.mrc.modes import MODES
from mrc2movie.readers.volume import AXES, Axis, VoxelSize
from mrc2movie.readers.voxels import ByteOrder, Coding, Layout, Sign

HEADER_BYTES = 1024
_IMOD_STAMP = 1146047817
_IMOD_SIGNED_BYTES = 1
_IMOD_INVERTED_ORIGIN = 4
_IMOD_PACKED_4BIT = 16
_MRC2014 = 20140
_NEVER_COMPUTED = 1e30  # programs leave minimum and maximum at ±1e38, at the wrong way round, or at NaN
_FARTHEST_A = 1e7  # 1 mm: an origin that is farther away is no origin
_MRCZ_STEP = 1000
_MRCZ_CODECS = {1: "blosclz", 2: "lz4", 3: "lz4hc", 4: "snappy", 5: "zlib", 6: "zstd"}

# SerialEM's sizes of super-resolution frames of K2 and K3 cameras, which it packed into 4 bits before there was a mode
# or a flag for them; either side may be the columns. They match within 2 voxels, as in IMOD.
_PACKED_FRAME_SIZES = ((7676, 7420), (7680, 7424), (11520, 8184))
_PACKED_FRAME_LABEL = "4 bits packed"

_MRCZ_OLD = re.compile(r"MRCZ0\.[0-4](?!\d)")
"""Up to version 0.4 it kept the number of all sections there."""

_DTYPES: dict[ByteOrder, np.dtype[np.void]] = {"<": HEADER_DTYPE.newbyteorder("<"), ">": HEADER_DTYPE.newbyteorder(">")}


class HeaderError(Exception):
    """No sane MRC header; the text says why.

    Args:
        message: Why.
        decided_by: It would be sane all the same if the file had exactly so many bytes; 0 where nothing would help.
    """

    def __init__(self, message: str, decided_by: int = 0) -> None:
        super().__init__(message)
        self.decided_by = decided_by


@dataclass(frozen=True)
class Header:
    """A header whose sizes are sane; see MRC2014 for the fields.

    Attributes:
        byte_order: Of the whole file.
        nz: Sections, as the header says.
        mode: A key of `MODES`.
        codec: That of an MRCZ file, by name; empty for voxels in the open.
        layout: The stored form of a section.
        sign_reason: Why integers are read as signed or unsigned, where that is a question; else empty.
        extended_bytes: Length of the extended header.
        voxel_size_A: (x, y, z) in Å; None for each where cell or sampling make no sense.
        origin_A: Where the first voxel lies, (x, y, z) in Å.
        axes: mapc, mapr, maps.
        ispg: Space group, or 0, 1 or 401: images, a volume, volumes.
        mz: Sections of one volume, as the header says.
        exttyp: Kind of the extended header.
        nversion: Version of the format.
        nint: Layout of an old extended header.
        nreal: Layout of an old extended header.
        imod_flags: IMOD's flags, or None without its stamp.
        has_map: Whether the four bytes ``MAP`` are where they should be.
        machst: The machine stamp, in hexadecimal.
        labels: The text labels, printable.
        notes: What had to be decided against the letter of the header.
    """

    byte_order: ByteOrder
    nz: int
    mode: int
    codec: str
    layout: Layout
    sign_reason: str
    extended_bytes: int
    voxel_size_A: tuple[float | None, float | None, float | None]
    origin_A: tuple[float, float, float]
    axes: tuple[int, int, int]
    ispg: int
    mz: int
    exttyp: str
    nversion: int
    nint: int
    nreal: int
    imod_flags: int | None
    has_map: bool
    machst: str
    labels: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def data_offset(self) -> int:
        """Where the voxels start, in bytes."""
        return HEADER_BYTES + self.extended_bytes

    @property
    def byte_order_name(self) -> str:
        """In a word: little or big."""
        return "little" if self.byte_order == "<" else "big"

    @property
    def spacing_A(self) -> VoxelSize | None:
        """The voxel size along (columns, rows, sections), which need not be x, y and z; None without a pixel size."""
        column, row, section = (self.voxel_size_A[axis] for axis in _directions(self.axes))
        return (column, row, section) if column and row else None

    @property
    def directions(self) -> tuple[Axis, Axis, Axis]:
        """The directions that columns, rows and sections follow."""
        column, row, section = _directions(self.axes)
        return AXES[column], AXES[row], AXES[section]

    @property
    def stored_origin_A(self) -> tuple[float, float, float]:
        """Where the first voxel lies along (columns, rows, sections), in Å."""
        column, row, section = _directions(self.axes)
        return self.origin_A[column], self.origin_A[row], self.origin_A[section]

    @property
    def is_mrcz(self) -> bool:
        """Whether the ``mrcz`` package wrote the file, with compression or without."""
        return bool(self.codec) or any(label.startswith("MRCZ") for label in self.labels)

    @property
    def channels(self) -> int:
        """How many sections are one image: what MRCZ keeps as the sampling along z, from its version 0.5 on."""
        known = self.is_mrcz and not _MRCZ_OLD.match("".join(self.labels[:1]))
        return self.mz if known and 1 < self.mz < self.nz and self.nz % self.mz == 0 else 1

    @property
    def row0_is_top(self) -> bool:
        """Whether the writer put the top row first.

        Thermo Fisher's files of exactly format version 20140 do, and IMOD reads a mapr of -2 so.
        """
        if self.imod_flags is not None:
            return False
        return (self.exttyp in ("FEI1", "FEI2") and self.nversion == _MRC2014) or self.axes[1] == -2

    @property
    def dialect(self) -> str:
        """Whose kind of MRC file it is, in words."""
        if self.is_mrcz:
            return f"MRCZ, {self.codec}" if self.codec else "MRCZ, not compressed"
        if self.imod_flags is not None:
            return "IMOD"
        if self.exttyp in ("FEI1", "FEI2"):
            return f"Thermo Fisher ({self.exttyp})"
        if self.exttyp == "SERI":
            return "SerialEM"
        if _is_mrc2014(self.nversion):
            return f"MRC2014, version {self.nversion}"
        return "MRC2000 or CCP4" if self.has_map else "old MRC, without MAP"


@dataclass(frozen=True)
class _Raw:
    """The fields in one byte order, as plain Python numbers: no overflow in what is computed from them."""

    byte_order: ByteOrder
    size: tuple[int, int, int]
    mode: int
    start: tuple[int, int, int]
    sampling: tuple[int, int, int]
    cell: tuple[float, float, float]
    axes: tuple[int, int, int]
    dmin: float
    dmax: float
    ispg: int
    nsymbt: int
    exttyp: str
    nversion: int
    nint: int
    nreal: int
    imod_flags: int | None
    origin: tuple[float, float, float]
    map: bytes
    machst: bytes
    label_count: int
    labels: tuple[str, ...]

    @property
    def codec(self) -> int:
        return self.mode // _MRCZ_STEP

    @property
    def mode_is_known(self) -> bool:
        return self.mode >= 0 and self.mode % _MRCZ_STEP in MODES and (self.codec == 0 or self.codec in _MRCZ_CODECS)

    @property
    def is_mrcz(self) -> bool:
        return self.codec > 0 or any(label.startswith("MRCZ") for label in self.labels)

    @property
    def packed_4bit(self) -> bool:
        """Whether 8-bit voxels are pairs of 4-bit ones, by IMOD's flag or by SerialEM's label and frame sizes."""
        if self.mode != 0:
            return False
        if self.imod_flags is not None and self.imod_flags & _IMOD_PACKED_4BIT:
            return True
        columns, rows = 2 * self.size[0], self.size[1]
        return (
            self.label_count == 1
            and _PACKED_FRAME_LABEL in "".join(self.labels[:1])
            and any(
                abs(columns - width) <= 4 and abs(rows - height) <= 2
                for sides in _PACKED_FRAME_SIZES
                for width, height in (sides, sides[::-1])
            )
        )

    def layout(self, dtype: str | None = None) -> Layout:
        nx, ny, _ = self.size
        mode = MODES[self.mode % _MRCZ_STEP]
        if self.packed_4bit:
            return Layout(2 * nx, ny, np.dtype(np.uint8), Coding.NIBBLES)
        return Layout(nx, ny, np.dtype(dtype or mode.dtype).newbyteorder(self.byte_order), mode.coding)

    @property
    def pixel_bytes(self) -> int:
        """What the sections take where they are not compressed."""
        return self.size[2] * self.layout().section_bytes

    def plausibility(self, file_size: int) -> tuple[bool, ...]:
        """What speaks for this byte order, the strongest first; the machine stamp only breaks ties."""
        sane = min(self.size) > 0 and self.mode_is_known
        room = file_size - HEADER_BYTES
        filled = sane and (max(0, self.nsymbt) + self.pixel_bytes <= room or self.pixel_bytes == room)
        begun = sane and self.layout().section_bytes <= room
        stamp = b"\x44" if self.byte_order == "<" else b"\x11"
        return sane, filled, begun, _are_axes(self.axes), self.machst.startswith(stamp)


def _unpack(raw: bytes, byte_order: ByteOrder) -> _Raw:
    dtype = _DTYPES[byte_order]
    # As Python values all at once: one by one takes twice as long, and a collection may have 10,000 headers.
    fields = dict(zip(dtype.names or (), np.frombuffer(raw, dtype, count=1)[0].item(), strict=True))
    nint, nreal = struct.unpack_from(byte_order + "2h", raw, 128)
    stamp, flags = struct.unpack_from(byte_order + "2i", raw, 152)
    label_count = fields["nlabl"]
    return _Raw(
        byte_order=byte_order,
        size=(fields["nx"], fields["ny"], fields["nz"]),
        mode=fields["mode"],
        start=(fields["nxstart"], fields["nystart"], fields["nzstart"]),
        sampling=(fields["mx"], fields["my"], fields["mz"]),
        cell=fields["cella"],
        axes=(fields["mapc"], fields["mapr"], fields["maps"]),
        dmin=fields["dmin"],
        dmax=fields["dmax"],
        ispg=fields["ispg"],
        nsymbt=fields["nsymbt"],
        exttyp=printable_text(fields["exttyp"]),
        nversion=fields["nversion"],
        nint=nint,
        nreal=nreal,
        imod_flags=flags if stamp == _IMOD_STAMP else None,
        origin=fields["origin"],
        map=fields["map"],
        machst=bytes(fields["machst"]),
        label_count=label_count,
        labels=tuple(
            text for label in fields["label"][: max(0, label_count)].tolist() if (text := printable_text(label))
        ),
    )


def parse_header(raw: bytes, file_size: int, sign: Sign = "auto", *, size_is_known: bool = True) -> Header:
    """Make sense of the first 1024 bytes.

    Args:
        raw: The bytes.
        file_size: Bytes of the whole file: nothing is believed that needs more.
        sign: Of 8-bit integers, where the user knows better.
        size_is_known: Whether `file_size` is exact, not only an upper bound.

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
    if not found.mode_is_known:
        raise HeaderError(f"its header says mode {found.mode}, which is none that is known")
    notes = []
    extended_bytes = _extended_bytes(found, file_size, size_is_known)
    if extended_bytes != found.nsymbt:
        notes.append(f"the header claims an extended header of {found.nsymbt} bytes that is not there")
    stamp = b"\x11" if found.byte_order == "<" else b"\x44"
    if found.machst.startswith(stamp):
        notes.append("the machine stamp is that of the other byte order: the sizes tell")
    if not _are_axes(found.axes):
        notes.append(f"the axes {found.axes} make no sense: taken as (1, 2, 3)")
    elif found.axes != (1, 2, 3):
        notes.append(f"axes {found.axes}: the stored sections are shown, not permuted")
    dtype, sign_reason = _dtype(found, sign)
    if found.packed_4bit:
        by_flag = found.imod_flags is not None and found.imod_flags & _IMOD_PACKED_4BIT
        sign_reason = "4-bit, two a byte, by " + ("IMOD's flag" if by_flag else "SerialEM's label and the frame size")
    if found.mode == 1 and dtype == "u2":
        notes.append(sign_reason)
    return Header(
        byte_order=found.byte_order,
        nz=found.size[2],
        mode=found.mode % _MRCZ_STEP,
        codec=_MRCZ_CODECS.get(found.codec, ""),
        layout=found.layout(dtype),
        sign_reason=sign_reason,
        extended_bytes=extended_bytes,
        voxel_size_A=(size := _voxel_size(found)),
        origin_A=_origin(found, size),
        axes=found.axes,
        ispg=found.ispg,
        mz=found.sampling[2],
        exttyp=found.exttyp,
        nversion=found.nversion,
        nint=found.nint,
        nreal=found.nreal,
        imod_flags=found.imod_flags,
        has_map=found.map[:3] == b"MAP",
        machst=found.machst.hex(" "),
        labels=found.labels,
        notes=tuple(notes),
    )


def _extended_bytes(found: _Raw, file_size: int, size_is_known: bool) -> int:
    """Length of the extended header: none where it is claimed but absent."""
    without = HEADER_BYTES + found.pixel_bytes
    if found.nsymbt == 0 or (size_is_known and not found.codec and without == file_size):
        return 0
    if not 0 <= found.nsymbt <= file_size - HEADER_BYTES:
        raise HeaderError(
            f"its header claims an extended header of {found.nsymbt} bytes, which is not there",
            0 if found.codec else without,
        )
    return found.nsymbt


def _dtype(found: _Raw, sign: Sign) -> tuple[str | None, str]:
    """The dtype of integers that may be signed or not, and the reason; None where the mode says it."""
    if found.mode % _MRCZ_STEP == 0:
        signed, reason = _mode0_is_signed(found) if sign == "auto" else (sign == "signed", f"{sign} by --mode0")
        return "i1" if signed else "u1", reason
    if found.mode == 1 and found.dmin >= 0 and 32767 < found.dmax <= 65535:
        return "u2", f"read as unsigned, since the header's maximum is {found.dmax:g}"
    return None, ""


def _mode0_is_signed(found: _Raw) -> tuple[bool, str]:
    """IMOD's rule, and where its statistics do not tell, the version of the format."""
    if found.is_mrcz:
        return True, "signed, as MRCZ has it"
    if found.imod_flags is not None:
        signed = bool(found.imod_flags & _IMOD_SIGNED_BYTES)
        return signed, f"{'signed' if signed else 'unsigned'} by IMOD's flag"
    dmin, dmax = found.dmin, found.dmax
    if dmin <= dmax and max(-dmin, dmax) < _NEVER_COMPUTED:
        if dmin < 0 and dmax < 128:
            return True, "signed by the header's minimum below 0"
        if dmin >= 0 and dmax >= 128:
            return False, "unsigned by the header's maximum above 127"
        if dmin < 0:
            signed = -dmin > dmax - 128
            return signed, f"{'signed' if signed else 'unsigned'} by the header's minimum and maximum"
    signed = _is_mrc2014(found.nversion)
    return signed, f"{'signed' if signed else 'unsigned'} by the header's version {found.nversion}"


def _are_axes(axes: tuple[int, int, int]) -> bool:
    """Whether they name each direction once; a minus is IMOD's way to say that row 0 is the top."""
    return sorted(map(abs, axes)) == [1, 2, 3]


def _directions(axes: tuple[int, int, int]) -> list[int]:
    """Which of x, y and z, counted from 0, columns, rows and sections follow."""
    return [abs(axis) - 1 for axis in axes] if _are_axes(axes) else [0, 1, 2]


def _is_mrc2014(nversion: int) -> bool:
    """Whether the version is one: old programs left anything there, such as four blanks."""
    return _MRC2014 <= nversion < 21000


def _voxel_size(found: _Raw) -> tuple[float | None, float | None, float | None]:
    column, row, section = _directions(found.axes)
    # MRCZ leaves the sampling at 0: its cell is that of the whole volume.
    whole = dict(zip((column, row, section), found.size, strict=True))
    sampling = [whole[axis] for axis in range(3)] if found.is_mrcz else list(found.sampling)
    count = found.size[2]
    if sampling[section] == 1 and sampling[column] > 0:
        # One step for a stack of images, whose cell is one voxel deep; or by mistake, for a whole volume.
        as_volume = found.cell[section] / count
        if math.isclose(as_volume, found.cell[column] / sampling[column], rel_tol=0.1):
            sampling[section] = count
    x, y, z = (
        length / steps if steps > 0 and length > 0 and math.isfinite(length) else None
        for length, steps in zip(found.cell, sampling, strict=True)
    )
    return x, y, z


def _origin(found: _Raw, size: tuple[float | None, float | None, float | None]) -> tuple[float, float, float]:
    """The header's origin; where it has none, as in ChimeraX, the place of the first voxel in the sampling.

    IMOD's own files keep it with the other sign, unless a flag or the version says otherwise.
    """
    if found.map[:3] == b"MAP" and any(found.origin) and all(abs(length) < _FARTHEST_A for length in found.origin):
        own = found.imod_flags is not None and not found.imod_flags & _IMOD_INVERTED_ORIGIN
        x, y, z = (-length if own and not _is_mrc2014(found.nversion) else length for length in found.origin)
        return x, y, z
    start = dict(zip(_directions(found.axes), found.start, strict=True))
    x, y, z = (start[axis] * (length or 0.0) for axis, length in enumerate(size))
    return (x, y, z) if max(abs(x), abs(y), abs(z)) < _FARTHEST_A else (0.0, 0.0, 0.0)
