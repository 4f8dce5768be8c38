"""How the voxels of a section are stored, and the way from their bytes to a section: arrays in, arrays out."""

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

ByteOrder: TypeAlias = Literal["<", ">"]
Sign: TypeAlias = Literal["auto", "signed", "unsigned"]

Centring: TypeAlias = tuple[bool, bool]
"""Whether the (rows, columns) of a transform must be rotated by half to bring its origin to the middle."""


class Coding(Enum):
    """What the numbers of a section mean."""

    REAL = "real"
    COMPLEX = "complex"
    COLOUR = "colour"
    NIBBLES = "nibbles"


_SHOWN_AS_THEY_ARE = frozenset(np.dtype(code) for code in ("i1", "u1", "i2", "u2", "i4", "u4", "f2", "f4"))
_NUMBERS = {Coding.REAL: 1, Coding.COMPLEX: 2, Coding.COLOUR: 3}


@dataclass(frozen=True)
class Layout:
    """The stored form of a section.

    Attributes:
        columns: Voxels of a row.
        rows: Rows.
        dtype: Of the stored numbers, in the file's byte order.
        coding: What they mean.
    """

    columns: int
    rows: int
    dtype: np.dtype[np.generic]
    coding: Coding

    @cached_property
    def section_bytes(self) -> int:
        """Bytes of a section in the file; a row of 4-bit voxels begins with a byte of its own."""
        if self.coding is Coding.NIBBLES:
            return (self.columns + 1) // 2 * self.rows
        return self.columns * self.rows * _NUMBERS[self.coding] * self.dtype.itemsize

    @property
    def section_dtype(self) -> np.dtype[np.generic]:
        """Of the sections that `decode` gives."""
        return np.dtype(np.float32) if self.coding is Coding.COMPLEX else shown_dtype(self.dtype)

    @property
    def in_words(self) -> str:
        """What the voxels are."""
        if self.coding is Coding.COLOUR:
            return "8-bit red, green and blue"
        numbers = {"i": "signed integer", "u": "unsigned integer", "f": "float", "b": "truth value"}[self.dtype.kind]
        return f"{'complex ' if self.coding is Coding.COMPLEX else ''}{8 * self.dtype.itemsize}-bit {numbers}"

    def decode(self, stored: NDArray[np.uint8], centring: Centring = (False, False)) -> NDArray[np.generic]:
        """A section from its bytes, which may be changed in place and live on in the section.

        Args:
            stored: (section_bytes,) uint8.
            centring: For a transform, see `centring_of`.

        Returns:
            (rows, columns), native byte order, or (rows, columns, 3) uint8 where in colour. A transform becomes
            log(1 + amplitude), float32, with the origin in the middle.
        """
        if self.coding is Coding.NIBBLES:
            return self._nibbles(stored)
        native = self.dtype.newbyteorder("=")
        numbers = stored.view(native)
        if self.dtype != native:
            numbers.byteswap(inplace=True)
        if self.coding is Coding.COLOUR:
            return numbers.reshape(self.rows, self.columns, 3)
        if self.coding is Coding.REAL:
            return as_shown(numbers.reshape(self.rows, self.columns))
        amplitude = self._log_amplitude(numbers)
        return np.fft.fftshift(amplitude, axes=[axis for axis in (0, 1) if centring[axis]])

    def centring_of(self, stored: NDArray[np.uint8]) -> Centring:
        """How to bring the origin of a transform to the middle, found from one of its sections."""
        return _centring(self.decode(stored))

    def _nibbles(self, packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The left voxel of each pair is in the low nibble, whatever the byte order of the file."""
        pairs = packed.reshape(self.rows, -1)
        section = np.empty((self.rows, 2 * pairs.shape[1]), np.uint8)
        np.bitwise_and(pairs, 15, out=section[:, 0::2])
        np.right_shift(pairs, 4, out=section[:, 1::2])
        return section[:, : self.columns]

    def _log_amplitude(self, numbers: NDArray[np.generic]) -> NDArray[np.float32]:
        # NaN and infinity are for the contrast to deal with; an amplitude beyond float32 becomes infinity.
        with np.errstate(over="ignore", invalid="ignore"):
            parts = numbers.reshape(self.rows, self.columns, 2).astype(np.float32, copy=False)
            amplitude = np.hypot(parts[..., 0], parts[..., 1])
            return np.log1p(amplitude, out=amplitude)


def grey_layout(columns: int, rows: int, dtype: np.dtype[np.generic]) -> Layout:
    """Of sections of real or complex numbers, in the byte order of the dtype."""
    if dtype.kind != "c":
        return Layout(columns, rows, dtype, Coding.REAL)
    part = np.dtype(f"f{dtype.itemsize // 2}").newbyteorder(dtype.byteorder)
    return Layout(columns, rows, part, Coding.COMPLEX)


def shown_dtype(stored: np.dtype[np.generic]) -> np.dtype[np.generic]:
    """Of the sections of real voxels stored so: native, and float32 for what MRC files do not have."""
    native = np.dtype(np.uint8) if stored.kind == "b" else stored.newbyteorder("=")
    return native if native in _SHOWN_AS_THEY_ARE else np.dtype(np.float32)


def as_shown(voxels: NDArray[np.generic]) -> NDArray[np.generic]:
    """Voxels of a native dtype in that of `shown_dtype`; what is beyond float32 becomes infinite."""
    dtype = shown_dtype(voxels.dtype)
    if dtype == voxels.dtype:
        return voxels
    with np.errstate(over="ignore", invalid="ignore"):
        return voxels.astype(dtype)


def _centring(amplitude: NDArray[np.generic]) -> Centring:
    """Where the origin of a transform is: where most of the power is, at a corner, at the left edge, or in the middle.

    A half transform, n/2 + 1 columns wide, has its origin in the first column, which stays there, and in row 0 or,
    as IMOD writes it, in the middle row. A full transform has it at the corner or in the middle. The two are told
    apart by the width, and where that leaves doubt by symmetry: row 0 of a full one reads the same from both ends.

    Args:
        amplitude: (y, x) of one section, as stored.
    """
    rows, columns = amplitude.shape
    near = amplitude[np.ix_([0, rows // 2], [0, columns // 2])]
    near = np.where(np.isfinite(near), near, 0)
    row, column = np.unravel_index(near.argmax(), near.shape)
    at_corner = (row == 0 and rows > 1, column == 0 and columns > 1)
    return bool(at_corner[0]), bool(at_corner[1] and not _is_half(amplitude, int(row) * (rows // 2)))


def _is_half(amplitude: NDArray[np.generic], origin_row: int) -> bool:
    rows, columns = amplitude.shape
    if columns == rows // 2 + 1:
        return True
    row = amplitude[origin_row, 1:].astype(np.float64)
    return not np.allclose(row, row[::-1], rtol=1e-3, atol=1e-3)
