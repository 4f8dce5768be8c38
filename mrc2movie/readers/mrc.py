"""MRC files in the open: sections by positioned reads."""

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError
from mrc2movie.readers.header import HEADER_BYTES, MODES, Header, HeaderError, parse_header
from mrc2movie.readers.source import InputFile
from mrc2movie.readers.volume import Description, Load, Section, Volume


class MrcVolume(Volume):
    """An MRC file.

    Args:
        source: The open file; closed with the volume.

    Raises:
        InputError: It is no MRC file, or holds no whole section.
    """

    def __init__(self, source: InputFile) -> None:
        self.path = source.path
        self._source = source
        try:
            self._header = parse_header(source.read(0, HEADER_BYTES), source.size)
        except HeaderError as error:
            raise InputError(str(error), "it is no MRC file, or a damaged one") from None
        self.scratch_bytes = self._header.section_bytes
        self.description = self._describe()

    def _describe(self) -> Description:
        header = self._header
        there = (self._source.size - header.data_offset) // header.section_bytes
        if there == 0:
            raise InputError(
                f"its header says {header.nz} sections of {header.nx} x {header.ny}, but not one is whole",
                "copy it again, or wait until it is written",
            )
        notes, warnings = [], []
        if there < header.nz:
            warnings.append(f"truncated: {there} of {header.nz} sections are there and shown")
        if sorted(header.axes) == [1, 2, 3] and header.axes != (1, 2, 3):
            notes.append(f"axes {header.axes}: the stored sections are shown, not permuted")
        if header.mode == 4:
            notes.append("a transform: shown as log(1 + amplitude), centred")
        return Description(
            shape=(min(there, header.nz), header.ny, header.nx),
            dtype=np.dtype(np.float32) if header.mode == 4 else header.dtype.newbyteorder("="),
            row0_at_bottom=not header.row0_is_top,
            voxel_size_A=header.voxel_size_A,
            header=_summary(header),
            notes=tuple(notes),
            warnings=tuple(warnings),
        )

    def section(self, number: int) -> Load:
        """The way to load a section, from any thread."""
        return partial(self._load, number)

    def _load(self, number: int, scratch: NDArray[np.uint8]) -> Section:
        header = self._header
        stored = scratch[: header.section_bytes]
        count = self._source.read_into(header.data_offset + number * header.section_bytes, stored.data)
        if count < header.section_bytes:
            raise InputError(
                f"became shorter while it was read: section {number} is no longer there",
                "convert it again when nothing writes to it",
            )
        if not header.dtype.isnative:
            stored.view(header.dtype.newbyteorder("=")).byteswap(inplace=True)
        section = stored.view(header.dtype.newbyteorder("=")).reshape(header.ny, header.nx)
        return centred_amplitude(section) if header.mode == 4 else section

    def close(self) -> None:
        """Close the file."""
        self._source.close()


def centred_amplitude(transform: NDArray[np.complex64]) -> NDArray[np.float32]:
    """log(1 + amplitude) of a transform with the origin in the centre of the rows.

    Args:
        transform: (y, x) complex, a half or a full transform; the origin is in row 0, or (IMOD) in the middle row.

    Returns:
        (y, x) float32.
    """
    amplitude = np.log1p(np.abs(transform))
    rows = len(amplitude)
    near_corner = amplitude[[-1, 0, min(1, rows - 1)], :2].sum()
    near_middle = amplitude[[max(0, rows // 2 - 1), rows // 2, min(rows // 2 + 1, rows - 1)], :2].sum()
    return np.fft.fftshift(amplitude, axes=0) if near_corner > near_middle else amplitude


def _summary(header: Header) -> dict[str, object]:
    mode = f"{header.mode} ({MODES[header.mode].name}{', ' if header.dtype_note else ''}{header.dtype_note})"
    return {
        "nx": header.nx,
        "ny": header.ny,
        "nz": header.nz,
        "mode": mode,
        "byte_order": "little" if header.byte_order == "<" else "big",
        "voxel_size_A": header.voxel_size_A,
        "exttyp": header.exttyp,
        "nversion": header.nversion,
        "labels": list(header.labels),
    }


def open_mrc(path: Path) -> Volume:
    """Open an MRC file; see `MrcVolume`."""
    source = InputFile(path)
    try:
        return MrcVolume(source)
    except BaseException:
        source.close()
        raise
