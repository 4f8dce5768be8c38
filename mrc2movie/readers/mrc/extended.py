"""The values of extended headers for each section: tilt angle, stage, dose and so on. Bytes in, numbers out.

Formats: IMOD (https://bio3d.colorado.edu/imod/doc/mrc_format.txt) for SERI, Agard and the classic FEI header; Thermo
Fisher's "MRC2014 file image format specification" for FEI1 and FEI2, through mrcfile's record types; MRCZ for json.
"""

import json
import math

import numpy as np
from mrcfile.dtypes import get_ext_header_dtype
from numpy.typing import NDArray

from mrc2movie.readers.metadata import MOST_SECTIONS, TILT, Column, Metadata, column
from mrc2movie.readers.mrc.header import Header

_READ_AT_MOST = 16 * 2**20
_JSON_BYTES = 256 * 1024
_JSON_DEPTH = 50
_CLASSIC_FEI_BYTES = 131072
_CLASSIC_FEI_RECORD = 128


def extended_bytes_wanted(header: Header) -> int:
    """How much of the extended header `extended_metadata` wants to see: a block may be padded to any length."""
    if header.exttyp == "json":  # parsed it takes twenty times as much memory
        return header.extended_bytes if header.extended_bytes <= _JSON_BYTES else 0
    return min(header.extended_bytes, _READ_AT_MOST) if header.nz <= MOST_SECTIONS else 0


def extended_metadata(header: Header, raw: bytes) -> Metadata | None:
    """Read an extended header.

    Args:
        header: Says what kind it is.
        raw: Its bytes.

    Returns:
        What it tells, or None where it is of no kind that is known, or does not hold a record for every section.
    """
    if not raw:
        return None
    if header.exttyp == "json":
        return _json(raw)
    if header.exttyp in ("FEI1", "FEI2"):
        return _fei(header, raw)
    if header.exttyp in ("CCP4", "HDF5"):
        return None
    found = _serial_em(header, raw) if header.exttyp != "AGAR" else None
    return found if found or header.exttyp == "SERI" else _agard(header, raw)


def _json(raw: bytes) -> Metadata | None:
    try:
        document = json.loads(raw, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        return None
    return Metadata("json extended header", document=document) if _is_flat(document) else None


def _is_flat(document: object) -> bool:
    """Whether it is not nested so deep that nobody could write it again."""
    level = [document]
    for _ in range(_JSON_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return True
    return False


def _finite(text: str) -> float | None:
    """What JSON can hold: neither NaN and Infinity, which Python's writers let pass, nor 1e999."""
    number = float(text)
    return number if math.isfinite(number) else None


_SERIAL_EM_SIZES = (2, 6, 4, 2, 2, 4)
"""Bytes of: tilt angle, piece coordinates, stage position, magnification, intensity, dose."""


def _serial_em(header: Header, raw: bytes) -> Metadata | None:
    """Records of short integers; the bits of nreal say which fields there are, nint how many bytes they take."""
    flags, stride = header.nreal, header.nint
    there = [bool(flags >> bit & 1) for bit in range(len(_SERIAL_EM_SIZES))]
    sizes = [size if has else 0 for size, has in zip(_SERIAL_EM_SIZES, there, strict=True)]
    if not 0 < flags < 1 << len(sizes) or sum(sizes) != stride or header.nz * stride > len(raw):
        return None
    records = _records(raw, header.nz, stride)

    def numbers(bit: int) -> NDArray[np.int16]:
        start = sum(sizes[:bit])
        return np.ascontiguousarray(records[:, start : start + sizes[bit]]).view(header.byte_order + "i2")

    columns: dict[str, Column] = {}
    if there[0]:
        columns[TILT] = column(numbers(0)[:, 0], 1 / 100, 360)
    if there[2]:
        columns["stage_x_um"], columns["stage_y_um"] = (column(numbers(2)[:, axis], 1 / 25) for axis in (0, 1))
    if there[3]:
        columns["magnification"] = column(numbers(3)[:, 0], 100)
    if there[5]:
        columns["dose_e_per_A2"] = column(_serial_em_floats(numbers(5)))
    return Metadata("SERI extended header", columns)


def _serial_em_floats(pairs: NDArray[np.int16]) -> NDArray[np.float64]:
    """A number of 24 bits and an exponent in two short integers, as IMOD's format description defines it."""
    first, second = pairs[:, 0].astype(np.float64), pairs[:, 1].astype(np.float64)
    mantissa = np.abs(first) * 256 + np.abs(second) % 256
    value: NDArray[np.float64] = np.sign(first) * mantissa * 2.0 ** (np.sign(second) * (np.abs(second) // 256))
    return value


def _fei(header: Header, raw: bytes) -> Metadata | None:
    """Records that begin with their own size; the bits of their masks say which fields are valid."""
    dtype = get_ext_header_dtype(header.exttyp.encode(), header.byte_order)
    stride = int(np.frombuffer(raw, header.byte_order + "i4", count=1)[0]) if len(raw) >= 4 else 0
    if stride < dtype.itemsize or header.nz * stride > len(raw):
        return None
    records = np.ascontiguousarray(_records(raw, header.nz, stride)[:, : dtype.itemsize]).view(dtype)[:, 0]
    columns: dict[str, Column] = {}
    for name, mask, bit, fei_name, scale in _FEI_FIELDS:
        valid = (records[f"Bitmask {mask}"] >> bit & 1).astype(bool)
        limit = 360 if name == TILT else math.inf
        if valid.any():
            values = column(records[fei_name], scale, limit)
            columns[name] = [value if known else None for value, known in zip(values, valid, strict=True)]
    return Metadata(f"{header.exttyp} extended header", columns)


# Name, bitmask and bit that say whether the field is valid, field, factor from SI units: volts, e/m², metres.
_FEI_FIELDS = (
    ("voltage_kV", 1, 5, "HT", 1e-3),
    ("dose_e_per_A2", 1, 6, "Dose", 1e-20),
    (TILT, 1, 7, "Alpha tilt", 1.0),
    ("stage_x_um", 1, 9, "X-Stage", 1e6),
    ("stage_y_um", 1, 10, "Y-Stage", 1e6),
    ("stage_z_um", 1, 11, "Z-Stage", 1e6),
    ("tilt_axis_degrees", 1, 12, "Tilt axis angle", 1.0),
    ("pixel_size_A", 1, 14, "Pixel size X", 1e10),
    ("defocus_um", 1, 22, "Defocus", 1e6),
    ("magnification", 1, 31, "Magnification", 1.0),
    ("exposure_s", 2, 16, "Integration time", 1.0),
)


def _agard(header: Header, raw: bytes) -> Metadata | None:
    """Integers, then reals, a section: the tilt angle is the first real. A classic FEI header has more to tell."""
    nint, nreal = header.nint, header.nreal
    is_classic_fei = nreal * 4 == _CLASSIC_FEI_RECORD and (
        header.extended_bytes == _CLASSIC_FEI_BYTES or "".join(header.labels[:1]).startswith("Fei ")
    )
    if is_classic_fei and nint == _CLASSIC_FEI_RECORD:
        nint = 0  # the writer counted bytes instead
    stride = 4 * (nint + nreal)
    if nint < 0 or nreal < 1 or header.nz * stride > len(raw):
        return None
    reals = np.ascontiguousarray(_records(raw, header.nz, stride)[:, 4 * nint :]).view(header.byte_order + "f4")
    if not is_classic_fei:
        return Metadata("Agard extended header", {TILT: column(reals[:, 0], limit=360)})
    columns = {
        name: column(reals[:, position], scale, 360 if name == TILT else math.inf)
        for position, (name, scale) in _CLASSIC_FEI_FIELDS.items()
    }
    return Metadata("FEI extended header", columns)


# Of a_tilt, b_tilt, x_stage, y_stage, z_stage, x_shift, y_shift, defocus, exp_time, mean_int, tilt_axis, pixel_size
# and magnification; lengths in metres.
_CLASSIC_FEI_FIELDS: dict[int, tuple[str, float]] = {
    0: (TILT, 1.0),
    2: ("stage_x_um", 1e6),
    3: ("stage_y_um", 1e6),
    4: ("stage_z_um", 1e6),
    7: ("defocus_um", 1e6),
    8: ("exposure_s", 1.0),
    10: ("tilt_axis_degrees", 1.0),
    11: ("pixel_size_A", 1e10),
    12: ("magnification", 1.0),
}


def _records(raw: bytes, count: int, stride: int) -> NDArray[np.uint8]:
    return np.frombuffer(raw, np.uint8, count * stride).reshape(count, stride)
