"""Scans that Thermo Fisher's Velox writes as stacks of patterns: the region of the scan is in the extended header.

Format: "MRC2014 file image format specification" of Thermo Fisher, through mrcfile's record types.
"""

import math

import numpy as np
from mrcfile.dtypes import get_ext_header_dtype

from mrc2movie.readers.mrc.header import HEADER_BYTES
from mrc2movie.readers.scans.scan import Scan
from mrc2movie.readers.source import Source

_A_PER_M = 1e10
_KINDS = ("FEI1", "FEI2")


def is_velox(header: dict[str, object]) -> bool:
    """Whether the header of a file, as the record keeps it, tells of such an extended header."""
    return header.get("exttyp") in _KINDS and header.get("extended_bytes") != 0


def scan_of(source: Source, header: dict[str, object], count: int) -> Scan | None:
    """The scan that a stack is, by the extended header of its first section; None unless it fits their number.

    Images of any other mode have a region of the scan, too, or zeros there.

    Args:
        source: The file.
        header: As the record keeps it.
        count: Sections.
    """
    dtype = get_ext_header_dtype(str(header["exttyp"]).encode(), "<" if header["byte_order"] == "little" else ">")
    raw = source.read(HEADER_BYTES, dtype.itemsize)
    if len(raw) < dtype.itemsize or count < 2:
        return None
    record = np.frombuffer(raw, dtype)[0]
    left, top, right, bottom = (int(record[f"Scan size {side}"]) for side in ("left", "top", "right", "bottom"))
    columns, rows = right - left, bottom - top
    if min(columns, rows) < 1 or columns * rows != count:
        return None
    views = [float(record[f"Full scan FOV {axis}"]) for axis in "XY"]
    steps = [_A_PER_M * view / number for view, number in zip(views, (columns, rows), strict=True)]
    is_whole = left == top == 0  # the field of view is that of the full scan, whose positions are told nowhere
    known = is_whole and all(math.isfinite(step) and step > 0 for step in steps)
    return Scan(columns, rows, step_A=(steps[0], steps[1]) if known else None)
